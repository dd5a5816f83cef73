"""A worker: messages of an SQS queue, one plan, one Pipeline per message, a pool of threads.

    worker = Worker(open_queue(url, visibility=60), service, WorkerOptions(threads=4), log=print)
    worker.run()  # until worker.stop(), which a signal handler may call

At most one message per free thread is received, and none is kept waiting. Where a message ends is in
`mlpipe.workflow.handling.Outcome`; what the queue does on its own, redelivery and redrive, is left to it.
"""

from __future__ import annotations

import enum
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue

from mlpipe.errors import QueueError, QueueUnavailable
from mlpipe.workflow.handling import Backoff, Handler, Outcome, Record
from mlpipe.workflow.heartbeat import Heartbeat
from mlpipe.workflow.lease import Lease
from mlpipe.workflow.queue import MAX_BATCH, MAX_WAIT_SECONDS, SqsQueue
from mlpipe.workflow.service import Message, Service

RECEIVE_PAUSE_SECONDS = 5.0
"""Between two attempts to reach a queue that does not answer, on top of botocore's own."""

Log = Callable[[Mapping[str, object]], None]


@dataclass(frozen=True)
class WorkerOptions:
    """How a worker works."""

    threads: int = 4
    """Messages that are worked on at a time."""
    grace: int = 30
    """Seconds that messages at work get to end after `stop`."""
    max_messages: int | None = None
    """Stop after so many have been received."""
    ends_when_empty: bool = False
    """Stop once nothing is at work and a poll finds nothing."""
    backoff: Backoff = field(default_factory=Backoff)
    """Pauses after failures that may pass."""

    @property
    def wait(self) -> int:
        """Seconds that a poll waits: it has to end within the grace period, since what it brings then is given back."""
        return 1 if self.ends_when_empty else min(MAX_WAIT_SECONDS, self.grace)


class _Notice(enum.Enum):
    STOP = enum.auto()
    THREAD_ENDED = enum.auto()


class Worker:
    """Consumes one queue with one service; runs once."""

    def __init__(
        self,
        queue: SqsQueue,
        service: Service,
        options: WorkerOptions,
        log: Log,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Plan the service's Tasks; `log` gets one flat record per message and per event, from any thread."""
        self._queue = queue
        self._options = options
        self._log = log
        self._clock = clock
        self._heartbeat = Heartbeat(queue, clock)
        self._handler = Handler(queue, service, self._heartbeat, options.backoff, clock)
        self._free = threading.Semaphore(options.threads)
        self._leased: SimpleQueue[tuple[Message, Lease] | None] = SimpleQueue()
        # SimpleQueue.put is reentrant, as a signal handler needs it; Event.set is not.
        self._notices: SimpleQueue[_Notice | Exception] = SimpleQueue()
        self._is_stopping = threading.Event()
        self._outcomes: Counter[Outcome] = Counter()
        self._outcomes_lock = threading.Lock()

    def stop(self) -> None:
        """Receive nothing more, and end after the grace period at the latest; a second call ends at once."""
        self._notices.put(_Notice.STOP)

    def run(self) -> Counter[Outcome]:
        """Work until `stop`, or until the options say that it is enough, and return how many messages ended how.

        Raises QueueError where the queue refuses to be read; what was at work is completed or given back even then.
        """
        self._warn_without_redrive()
        self._start()
        failure = self._supervise()
        self._give_back_the_rest()
        with self._outcomes_lock:
            outcomes = self._outcomes.copy()
        self._log({"event": "stopped", **{str(outcome): count for outcome, count in outcomes.items()}})
        if failure:
            raise failure
        return outcomes

    def _warn_without_redrive(self) -> None:
        warning = "the queue has no redrive policy: what always fails comes again for as long as the queue retains it"
        try:
            if self._queue.has_redrive_policy():
                return
        except QueueUnavailable:
            raise
        except QueueError as error:  # the permission to read attributes is not needed for anything else
            warning = f"whether the queue has a redrive policy is unknown: {error.message}"
        self._log({"event": "warning", "warning": warning})

    def _start(self) -> None:
        threads, visibility = self._options.threads, self._queue.visibility
        self._log({"event": "started", "queue": self._queue.url, "threads": threads, "visibility": visibility})
        for target in (self._receive, *[self._work] * threads):
            self._start_thread(target, _Notice.THREAD_ENDED)
        self._start_thread(self._heartbeat.run, _Notice.STOP)  # without heartbeats nothing can be kept

    def _start_thread(self, target: Callable[[], None], at_end: _Notice) -> None:
        def reporting() -> None:
            try:
                target()
            except Exception as error:
                self._notices.put(error)
            self._notices.put(at_end)

        # A daemon: a Task that does not end must not keep the process alive after its message was given back.
        threading.Thread(target=reporting, name=target.__qualname__, daemon=True).start()

    def _supervise(self) -> Exception | None:
        """Wait until every thread has ended, or the grace period is over; return what went wrong in one of them."""
        running = 1 + self._options.threads
        deadline: float | None = None
        failure: Exception | None = None
        while running:
            try:
                notice = self._notices.get(timeout=None if deadline is None else max(0.0, deadline - self._clock()))
            except Empty:
                break
            if notice is _Notice.THREAD_ENDED:
                running -= 1
                continue
            failure = failure or (notice if isinstance(notice, Exception) else None)
            if deadline is None:
                deadline = self._clock() + self._options.grace
                self._stop_receiving()
            elif notice is _Notice.STOP:
                break
        return failure

    def _stop_receiving(self) -> None:
        self._is_stopping.set()
        self._log({"event": "stopping", "at_work": len(self._heartbeat), "grace": self._options.grace})
        self._free.release()  # the receiver may be waiting for it

    def _give_back_the_rest(self) -> None:
        ours, lost = self._heartbeat.end_all()
        self._heartbeat.stop()
        self._give_back(ours)
        for message in lost:
            self._report(Record(message, Outcome.LOST))

    def _give_back(self, messages: Sequence[Message]) -> None:
        queue_error = None
        try:
            self._queue.give_back(messages)
        except QueueError as error:
            queue_error = error
        for message in messages:
            self._report(Record(message, Outcome.GIVEN_BACK, queue_error=queue_error))

    def _receive(self) -> None:
        """Lease messages to the threads until there is a reason to stop; then let every thread end."""
        remaining = self._options.max_messages
        try:
            while remaining != 0 and not self._is_stopping.is_set():
                received = self._receive_once(MAX_BATCH if remaining is None else min(MAX_BATCH, remaining))
                if received is None:
                    break
                remaining = None if remaining is None else remaining - received
        finally:
            for _ in range(self._options.threads):
                self._leased.put(None)

    def _receive_once(self, limit: int) -> int | None:
        """Receive for the free threads, and return how many messages came; None where the queue is to be left."""
        was_idle = len(self._heartbeat) == 0
        slots = self._take_slots(limit)
        if self._is_stopping.is_set():
            return None
        try:
            messages = self._queue.receive(slots, self._options.wait)
        except QueueUnavailable as error:
            self._log({"event": "receive_failed", "error": error.message})
            self._free.release(slots)
            self._is_stopping.wait(RECEIVE_PAUSE_SECONDS)
            return 0
        if self._is_stopping.is_set():
            self._give_back(messages)
            return None
        for message in messages:
            self._leased.put((message, self._heartbeat.add(message)))
        if unused := slots - len(messages):
            self._free.release(unused)
        return None if self._options.ends_when_empty and was_idle and not messages else len(messages)

    def _take_slots(self, limit: int) -> int:
        """Wait for a free thread, and count those that are free by then, at most `limit`."""
        self._free.acquire()
        slots = 1
        while slots < limit and self._free.acquire(blocking=False):
            slots += 1
        return slots

    def _work(self) -> None:
        while (leased := self._leased.get()) is not None:
            record = self._handler.handle(*leased)
            self._free.release()
            if record:
                self._report(record)

    def _report(self, record: Record) -> None:
        with self._outcomes_lock:
            self._outcomes[record.outcome] += 1
        self._log(record.fields())
