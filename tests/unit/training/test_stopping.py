from __future__ import annotations

import os
import signal

import pytest

from mlpipe.errors import JobStopped
from mlpipe.training.stopping import stop_requests


def test_a_stop_is_taken_note_of_and_nothing_is_interrupted() -> None:
    before = signal.getsignal(signal.SIGTERM)
    seen = []

    def work() -> None:
        with stop_requests() as stop:
            seen.append(stop.is_requested)
            os.kill(os.getpid(), signal.SIGTERM)
            seen.append(stop.is_requested)
            raise JobStopped("gave way")

    with pytest.raises(JobStopped, match="gave way"):
        work()
    assert seen == [False, True]
    assert signal.getsignal(signal.SIGTERM) == before


def test_a_stop_that_nobody_looked_for_is_not_forgotten() -> None:
    with pytest.raises(JobStopped, match="all epochs were trained"), stop_requests():
        os.kill(os.getpid(), signal.SIGTERM)


def test_an_error_is_not_hidden_by_a_stop() -> None:
    def work() -> None:
        with stop_requests():
            os.kill(os.getpid(), signal.SIGTERM)
            raise ValueError("of the work")

    with pytest.raises(ValueError, match="of the work"):
        work()
