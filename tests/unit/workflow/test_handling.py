from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlpipe.errors import QueueError
from mlpipe.workflow.handling import Backoff, Outcome, Record
from mlpipe.workflow.service import Message

MESSAGE = Message("m-1", "secret", receive_count=3, receipt="r")


@pytest.mark.parametrize(("attempt", "seconds"), [(1, 2), (2, 4), (3, 8), (9, 512), (10, 900), (10_000, 900)])
def test_pauses_double_up_to_the_longest(attempt: int, seconds: int):
    assert Backoff(first=2, longest=900, draw=lambda: 1.0).seconds(attempt) == seconds


@given(st.integers(1, 100), st.floats(0, 1, exclude_max=True))
def test_at_least_half_of_a_pause_is_kept(attempt: int, drawn: float):
    whole = Backoff(draw=lambda: 1.0).seconds(attempt)
    assert whole / 2 <= Backoff(draw=lambda: drawn).seconds(attempt) <= whole


def test_pauses_differ_between_messages():
    assert len({Backoff().seconds(10) for _ in range(100)}) > 1


def test_a_record_has_only_what_applies_and_never_the_body():
    fields = Record(MESSAGE, Outcome.DONE, seconds=1.23456, heartbeats=2).fields()
    assert fields == {
        "event": "message",
        "message_id": "m-1",
        "outcome": "done",
        "receive_count": 3,
        "seconds": 1.235,
        "heartbeats": 2,
    }


def test_a_record_of_a_failure_says_what_and_where():
    try:
        raise ValueError("no pages")
    except ValueError as error:
        error.add_note("while ReadPages was running")
        record = Record(MESSAGE, Outcome.RETRY, error=error, retry_in=4, queue_error=QueueError("refused", hint="x"))
    fields = json.loads(json.dumps(record.fields()))
    assert fields["error"] == "ValueError: no pages"
    assert fields["notes"] == ["while ReadPages was running"]
    assert fields["where"].startswith(f"{__file__}:")
    assert fields["retry_in"] == 4
    assert fields["queue_error"] == "refused"
