"""One message: its plan is run, the queue is told how that ended, and a record says so."""

from __future__ import annotations

import enum
import math
import random
import time
from collections.abc import Callable
from dataclasses import dataclass

from mlpipe.errors import LeaseLost, QueueError, StorageError
from mlpipe.workflow.cancellation import Token, set_current_token
from mlpipe.workflow.executor import execute_task_plan
from mlpipe.workflow.heartbeat import Heartbeat
from mlpipe.workflow.lease import Lease
from mlpipe.workflow.planner import get_task_plan
from mlpipe.workflow.queue import SqsQueue, is_transient
from mlpipe.workflow.service import LEASE, MESSAGE, Message, Service, location, user_code


class Outcome(enum.StrEnum):
    """How one delivery of a message ended."""

    DONE = "done"
    """Every Task ran; the message is deleted."""
    RETRY = "retry"
    """It failed in a way that may pass: the message stays hidden for a while, and comes again."""
    FAILED = "failed"
    """It failed for good: the message is left to the queue, which redelivers it and at last puts it aside."""
    LOST = "lost"
    """The lease ended while it was at work: nothing more was written, and the message is somebody else's."""
    GIVEN_BACK = "given_back"
    """The worker stopped: others may receive the message at once."""


@dataclass(frozen=True)
class Record:
    """What is logged about one delivery."""

    message: Message
    outcome: Outcome
    seconds: float = 0.0
    heartbeats: int = 0
    error: BaseException | None = None
    retry_in: int | None = None
    """Seconds until a failed message is delivered again, where the worker chose them."""
    queue_error: QueueError | None = None
    """Why the queue could not be told; the message comes again after its visibility timeout."""

    def fields(self) -> dict[str, object]:
        """As one flat JSON object, without what does not apply."""
        shown: dict[str, object] = {
            "event": "message",
            "message_id": self.message.id,
            "outcome": str(self.outcome),
            "receive_count": self.message.receive_count,
            "seconds": round(self.seconds, 3),
            "heartbeats": self.heartbeats,
            "retry_in": self.retry_in,
            "queue_error": self.queue_error and self.queue_error.message,
            **(_error_fields(self.error) if self.error else {}),
        }
        return {name: value for name, value in shown.items() if value is not None}


class Handler:
    """Processes messages with the one plan of a service; used by many threads."""

    def __init__(
        self,
        queue: SqsQueue,
        service: Service,
        heartbeat: Heartbeat,
        backoff: Backoff,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Plan the Tasks of `service`.

        Raises PlanError where they do not fit together, and UserFunctionError where there is no making them.
        """
        self._queue = queue
        self._service = service
        self._heartbeat = heartbeat
        self._backoff = backoff
        self._clock = clock
        with user_code("tasks()"):
            tasks = service.tasks()
        self._plan = get_task_plan(tasks)

    def handle(self, message: Message, lease: Lease) -> Record | None:
        """Process one leased message and settle it with the queue; None where it was given back in the meantime."""
        started = self._clock()
        error = self._run(message, lease)
        if not self._heartbeat.remove(message):
            return None
        outcome = self._judge(error, lease)
        retry_in = self._backoff.seconds(message.receive_count) if outcome is Outcome.RETRY else None
        queue_error = self._settle(message, outcome, retry_in)
        return Record(message, outcome, self._clock() - started, lease.renewals, error, retry_in, queue_error)

    def _run(self, message: Message, lease: Lease) -> BaseException | None:
        # Tasks ask `cancelled()` whether they still may, and S3Tasks do so before they write.
        set_current_token(Token(has_ended=lambda: not lease.is_held))
        try:
            pipeline = self._service.pipeline(message)
            pipeline[MESSAGE] = message
            pipeline[LEASE] = lease
            execute_task_plan(self._plan, pipeline)
        except (Exception, SystemExit) as error:  # a Task that calls sys.exit() must not end the thread
            return error
        finally:
            set_current_token(None)
        return None

    def _judge(self, error: BaseException | None, lease: Lease) -> Outcome:
        if isinstance(error, LeaseLost) or not lease.is_held:
            return Outcome.LOST
        if error is None:
            return Outcome.DONE
        is_retryable = isinstance(error, (StorageError, *self._service.retryable)) or is_transient(error)
        return Outcome.RETRY if is_retryable else Outcome.FAILED

    def _settle(self, message: Message, outcome: Outcome, retry_in: int | None) -> QueueError | None:
        try:
            if outcome is Outcome.DONE:
                self._queue.delete(message)
            elif retry_in is not None:
                self._queue.hide(message, retry_in)
        except QueueError as error:
            return error
        return None


@dataclass(frozen=True)
class Backoff:
    """Doubling pauses between the attempts at one message, half of each drawn at random.

    https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/ ("equal jitter").
    """

    first: float = 2.0
    longest: float = 900.0
    draw: Callable[[], float] = random.random

    def seconds(self, receive_count: int) -> int:
        """Whole seconds to wait after the attempt `receive_count`, which counts from 1."""
        pause = min(self.longest, self.first * 2.0 ** min(receive_count - 1, 30))
        return math.ceil(pause / 2 * (1 + self.draw()))


def _error_fields(error: BaseException) -> dict[str, object]:
    return {
        "error": f"{type(error).__name__}: {error}",
        "notes": [*getattr(error, "__notes__", ())] or None,
        "where": location(error),
    }
