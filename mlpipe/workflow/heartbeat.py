"""The leases of the messages at work, and the one thread that renews them."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from mlpipe.errors import QueueError, QueueUnavailable
from mlpipe.workflow.lease import Lease
from mlpipe.workflow.queue import SqsQueue
from mlpipe.workflow.service import Message

BEATS_PER_TIMEOUT = 3


class Heartbeat:
    """Renews the lease of every message at work, several times within the queue's visibility timeout."""

    def __init__(self, queue: SqsQueue, clock: Callable[[], float] = time.monotonic) -> None:
        """Renew leases on messages of `queue`; `clock` is that of the leases."""
        self._queue = queue
        self._clock = clock
        self._held: dict[str, tuple[Message, Lease]] = {}
        # Held while a request is under way: an extension that is late must not undo a visibility set since.
        self._lock = threading.Lock()
        self._is_over = threading.Event()

    def __len__(self) -> int:
        return len(self._held)

    def add(self, message: Message) -> Lease:
        """Lease a message that was received just now."""
        lease = Lease(message.id, self._queue.visibility, self._clock)
        with self._lock:
            self._held[message.receipt] = message, lease
        return lease

    def remove(self, message: Message) -> bool:
        """Renew the message no longer; False where it was given back in the meantime."""
        with self._lock:
            return self._held.pop(message.receipt, None) is not None

    def beat(self) -> None:
        """Renew every lease that is still held; one that the queue refuses to extend ends here."""
        with self._lock:
            held = {receipt: pair for receipt, pair in self._held.items() if pair[1].is_held}
            if held:
                self._renew(held)

    def end_all(self) -> tuple[list[Message], list[Message]]:
        """End every lease; return the messages that were ours until now, and those that had been lost before."""
        with self._lock:
            pairs = list(self._held.values())
            self._held.clear()
        ours = [message for message, lease in pairs if lease.is_held]
        lost = [message for message, lease in pairs if not lease.is_held]
        for _, lease in pairs:
            lease.end("the worker stops")
        return ours, lost

    def run(self) -> None:
        """Beat until `stop` is called: what the thread does."""
        while not self._is_over.wait(self._queue.visibility / BEATS_PER_TIMEOUT):
            self.beat()

    def stop(self) -> None:
        """End `run`."""
        self._is_over.set()

    def _renew(self, held: dict[str, tuple[Message, Lease]]) -> None:
        sent_at = self._clock()
        try:
            refused = self._queue.extend([message for message, _ in held.values()])
        except QueueUnavailable:
            return  # the next beat tries again; if none gets through, the leases end at their own deadline
        except QueueError as error:
            refused = dict.fromkeys(held, error.message)
        for receipt, (_, lease) in held.items():
            if receipt in refused:
                lease.end(f"the queue did not extend it: {refused[receipt]}")
            else:
                lease.renew(sent_at, self._queue.visibility)
