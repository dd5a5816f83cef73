from __future__ import annotations

import json
import logging
import tracemalloc

import pyarrow as pa
import pytest

from mlpipe.errors import DataError, UserFunctionError
from mlpipe.jobs import reconcile

ROWS = [
    {"text": "one two", "label": 10, "author": "x"},
    {"text": "three", "label": 9, "author": "y"},
    {"text": "three", "label": 9, "author": "y"},
    {"text": "three", "label": 10, "author": "y"},
    {"text": "four five six", "label": 9},
]


def read_card(job) -> dict:
    return json.loads((job.output / "data_card.json").read_text())


def test_rows_are_filed_with_a_card_that_counts_them(data_job):
    job = data_job(ROWS, data="TEXT_COLUMN = text\nGROUP_KEY = author")
    reconcile.run(job)
    table = pa.ipc.open_file(str(job.output / "rows.arrow")).read_all()
    assert table.drop_columns(["id"]).to_pylist() == [
        {"label": "10", "text": "one two", "author": "x"},
        {"label": "9", "text": "three", "author": "y"},
        {"label": "10", "text": "three", "author": "y"},
        {"label": "9", "text": "four five six", "author": None},
    ]
    assert read_card(job) == {
        "task_type": "single_label",
        "rows": 4,
        "rows_yielded": 5,
        "duplicates_dropped": 1,
        "duplicate_ids": [],
        "conflicting_contents": 1,
        "columns": {"id": "string", "label": "string", "text": "string", "author": "string"},
        "labels": {"9": 2, "10": 2},
        "characters": {
            "text": {"min": 5, "median": 5, "p95": 13, "max": 13},
            "author": {"min": 1, "median": 1, "p95": 1, "max": 1},
        },
        "words": {"min": 1, "median": 1, "p95": 3, "max": 3},
        "format_version": 1,
    }
    assert list(read_card(job)["labels"]) == ["9", "10"]


def test_equal_rows_give_equal_files(data_job):
    first, second = data_job(ROWS, name="first"), data_job(ROWS, name="second")
    for job in (first, second):
        reconcile.run(job)
    files = sorted(path.name for path in first.output.iterdir())
    assert files == ["data_card.json", "rows.arrow"]
    assert all((first.output / name).read_bytes() == (second.output / name).read_bytes() for name in files)


@pytest.mark.parametrize("key", ["TEXT_COLUMN", "GROUP_KEY"])
def test_a_column_that_is_not_there_is_reported_with_those_that_are(data_job, key):
    job = data_job(ROWS, data=f"{key} = body")
    with pytest.raises(DataError, match=f"{key} names the column 'body', but .* have text, author"):
        reconcile.run(job)


def test_a_text_column_must_hold_text(data_job):
    job = data_job([{"text": 1, "label": "a"}, {"text": 2, "label": "b"}], data="TEXT_COLUMN = text")
    with pytest.raises(DataError, match="TEXT_COLUMN names 'text', which holds int64"):
        reconcile.run(job)


def test_rows_with_conflicting_labels_are_warned_about(data_job, caplog):
    with caplog.at_level(logging.WARNING):
        reconcile.run(data_job(ROWS))
    assert "1 contents occur with more than one label" in caplog.text


def test_a_bad_row_far_into_the_stream_leaves_no_file(data_job):
    code = """
def reconcile(settings):
    for number in range(2_500):
        yield {"text": str(number), "label": "ab"[number % 2] if number != 2_300 else None}
"""
    job = data_job(code=code)
    with pytest.raises(DataError, match=r"row 2301 from reconcile\(\) has no `label`"):
        reconcile.run(job)
    assert list(job.output.iterdir()) == []


def test_what_the_function_raises_is_reported_as_its_failure(data_job):
    code = "def reconcile(settings):\n    yield {'text': 'x', 'label': 'a'}\n    raise KeyError('gone')\n"
    with pytest.raises(UserFunctionError, match=r"reconcile\(\) failed .*KeyError: 'gone'"):
        reconcile.run(data_job(code=code))


def test_rows_are_not_held_in_memory(data_job):
    code = """
def reconcile(settings):
    for number in range(8_000):
        yield {"text": f"{number} " * 1_000, "label": number % 2}
"""
    job = data_job(code=code)
    job.functions  # noqa: B018 - imported before memory is measured
    tracemalloc.start()
    reconcile.run(job)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert (job.output / "rows.arrow").stat().st_size > 32_000_000
    assert peak < 16_000_000
