"""How long a message is ours: a lease that ends by itself, on this process's own clock."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from mlpipe.errors import LeaseLost

SAFE_SHARE = 0.9
"""A lease ends before the queue's own timeout, by the time that a last write may be under way."""


class Lease:
    """The right to write for one message; it ends at its deadline unless it is renewed before.

    An ended lease stays ended, whatever the queue answers: extending a handle that has expired may return OK and do
    nothing, and the message is somebody else's by then. May be used by many threads.
    """

    def __init__(self, message_id: str, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        """Lease a message for the next `seconds`, the visibility timeout with which it was received."""
        self.message_id = message_id
        self.renewals = 0
        """How often the queue has confirmed the lease since."""
        self._clock = clock
        self._deadline = clock() + SAFE_SHARE * seconds
        self._end = ""
        self._lock = threading.Lock()

    @property
    def is_held(self) -> bool:
        """Whether something may still be written for the message; once False, never True again."""
        with self._lock:
            return self._is_held()

    def require(self) -> None:
        """Raise LeaseLost unless the lease is held: to be called right before every write."""
        if not self.is_held:
            raise LeaseLost(
                f"the lease on message {self.message_id} has ended: {self._end}",
                hint="nothing is written for it here any more; the queue delivers it again",
            )

    def renew(self, sent_at: float, seconds: float) -> None:
        """Move the deadline to `seconds` after `sent_at`, when the request that the queue confirmed was sent."""
        with self._lock:
            if self._is_held():
                self._deadline = sent_at + SAFE_SHARE * seconds
                self.renewals += 1

    def end(self, why: str) -> None:
        """End the lease now; the first reason is kept."""
        with self._lock:
            self._end = self._end or why

    def _is_held(self) -> bool:
        if not self._end and self._clock() >= self._deadline:
            self._end = "it was not renewed in time"
        return not self._end
