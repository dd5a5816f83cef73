"""A stop of the job that waits for a moment at which nothing is lost."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator
from types import FrameType

from mlpipe.errors import JobStopped


class StopRequest:
    """Whether the platform has asked the job to end."""

    def __init__(self) -> None:
        self.is_requested = False

    def receive(self, _signum: int, _frame: FrameType | None) -> None:
        """The signal handler: only takes note."""
        self.is_requested = True


@contextlib.contextmanager
def stop_requests() -> Iterator[StopRequest]:
    """Within it, SIGTERM is only taken note of, and whoever works there looks for it and raises JobStopped.

    A request that nobody saw before the end raises JobStopped there; afterwards SIGTERM does what it did before.
    """
    request = StopRequest()
    before = signal.signal(signal.SIGTERM, request.receive)
    try:
        yield request
    finally:
        signal.signal(signal.SIGTERM, before)
    if request.is_requested:
        raise JobStopped("all epochs were trained and a checkpoint has them: the next attempt goes on from it")
