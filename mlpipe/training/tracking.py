"""Tells a tracker how a training goes, and never lets the training wait for it or fail with it.

Everything that a tracker does happens on a thread of its own. What goes wrong there is one warning: history.jsonl
holds the epochs, a tracker only shows them.
"""

from __future__ import annotations

import contextlib
import logging
import queue
import threading
from collections.abc import Callable, Iterator
from dataclasses import asdict
from functools import partial
from pathlib import Path

from accelerate import Accelerator

from mlpipe.training.history import History
from mlpipe.training.trackers import Results, Tracker

logger = logging.getLogger(__name__)

END_SECONDS = 30.0
"""How long a job that is done waits until its tracker has everything."""

STOP_SECONDS = 4.0
"""How long a job waits that failed or was stopped: a backend that stops a job kills it ten seconds later."""

_MESSAGE_LENGTH = 300


class Reporter:
    """Passes on how a training goes; its methods return at once and raise nothing."""

    def __init__(self, tracker: Tracker, accelerator: Accelerator) -> None:
        self._tracker = tracker
        self._accelerator = accelerator
        self._calls: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, daemon=True, name=f"tracker {tracker.name}")
        self._logged = 0
        """The last epoch that the tracker has."""
        self._is_given_up = False

    def start(self) -> None:
        """Import the tracker's package here, and let its run begin there."""
        try:
            self._tracker.load()
        except Exception as error:
            self._give_up(_reason(error))
            return
        self._thread.start()
        self._calls.put(self._open)

    def update(self, history: History) -> None:
        """Pass on the epochs that the tracker does not have yet."""
        self._calls.put(partial(self._log, _epochs(history)))

    def add_results(self, history: History, plots: Path) -> None:
        """Pass on the best epoch, the table of all epochs, and what is in the folder `plots`."""
        self.update(history)
        results = Results(history.best.to_json(), _epochs(history), plots)
        self._calls.put(lambda: self._tracker.add_results(self._accelerator, results))

    def end(self, *, failed: bool, seconds: float) -> None:
        """End the tracker's run when everything is passed on; waits for that, but only for so many seconds."""
        if not self._thread.is_alive():
            return
        self._calls.put(lambda: self._tracker.end(self._accelerator, failed=failed))
        self._calls.put(None)
        self._thread.join(seconds)
        if self._thread.is_alive():
            self._give_up(f"it did not take everything within {seconds:.0f} seconds")

    def _work(self) -> None:
        for call in iter(self._calls.get, None):
            try:
                call()
            except Exception as error:
                self._give_up(_reason(error))
                return

    def _open(self) -> None:
        self._logged = self._tracker.open(self._accelerator)

    def _log(self, epochs: list[dict[str, float]]) -> None:
        for number, values in enumerate(epochs[self._logged :], self._logged + 1):
            self._tracker.log(self._accelerator, values, number)
            self._logged = number

    def _give_up(self, reason: str) -> None:
        if not self._is_given_up:
            self._is_given_up = True
            logger.warning(
                "tracker %s is left out: %s; the training is not touched by that, and history.jsonl has every epoch",
                *(self._tracker.name, reason),
            )


@contextlib.contextmanager
def reporting(tracker: Tracker | None, accelerator: Accelerator) -> Iterator[Reporter | None]:
    """Within it, a Reporter to the tracker; None where there is no tracker, and in all but the main process."""
    if tracker is None or not accelerator.is_main_process:
        yield None
        return
    reporter = Reporter(tracker, accelerator)
    reporter.start()
    try:
        yield reporter
    except BaseException:
        reporter.end(failed=True, seconds=STOP_SECONDS)
        raise
    reporter.end(failed=False, seconds=END_SECONDS)


def _epochs(history: History) -> list[dict[str, float]]:
    """One mapping per epoch: its record and its timing."""
    pairs = zip(history.records, history.timings, strict=True)
    return [{**record.to_json(), **asdict(timing)} for record, timing in pairs]


def _reason(error: Exception) -> str:
    text = str(error).strip() or "without a message"
    return f"{type(error).__name__}: {text.splitlines()[0][:_MESSAGE_LENGTH]}"
