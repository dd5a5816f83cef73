"""One execution of a plan: which Task runs when, and in which thread.

The thread that asked for the execution takes part, so that short Tasks cost no hand-over from thread to thread. It runs
a Task itself where nothing runs beside it, or where that Task took no time to speak of when it ran last: anything else
could keep it from noticing that a Task beside it has failed.
"""

from __future__ import annotations

import itertools
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from mlpipe.errors import PlanError, TaskTimeout
from mlpipe.workflow.cancellation import Token, cancelled, current_token, set_current_token
from mlpipe.workflow.events import Event, EventKind, Listener, Span, SpanFields, tell
from mlpipe.workflow.pipeline import TaskView
from mlpipe.workflow.planner import TaskPlan
from mlpipe.workflow.pool import MAX_THREADS, shared_pool

QUICK_S = 1e-3
"""Seconds up to which a Task is run where it stands; to hand one over to another thread takes about 50 microseconds."""

PAUSE_S = 0.05
"""How often a Task that waits to be tried again looks whether it is still wanted."""


class Execution:
    """What is going on while `plan` is executed on `values`; what changes is read and written under `_lock`."""

    def __init__(
        self,
        plan: TaskPlan,
        values: dict[str, Any],
        *,
        is_failing_fast: bool,
        listeners: Sequence[Listener],
        spans: list[SpanFields],
    ) -> None:
        self.failed: dict[int, BaseException] = {}
        self._skipped: set[int] = set()
        self._plan = plan
        self._values = values
        self._is_failing_fast = is_failing_fast
        self._listeners = tuple(listeners)
        self._pool = shared_pool()
        self._token = Token(current_token())
        self._lock = threading.Lock()
        self._waits_for = [len(before) for before in plan.dependencies]
        self._to_do = len(plan.tasks)
        self._spans = spans
        self._blocked: set[int] = set()
        self._quick: deque[int] = deque()
        self._slow: deque[int] = deque()
        self._timed: deque[int] = deque()
        """Tasks that can start, by what is known of them."""
        self._coming = 0
        """Threads that were invited and have not yet looked for a Task."""
        self._is_queued = False
        """Whether a thread will come as soon as one has nothing else to do."""
        self._helping = 0
        """Threads beside the caller's that are at work."""
        self._deadlines: dict[int, tuple[float, Token]] = {}
        """Of the Tasks with a time limit that run."""
        self._lost: set[int] = set()
        """Those whose time is over: nobody waits for their threads any more."""
        self._fatal: BaseException | None = None
        """What ended the execution."""
        self._bell = threading.Lock()
        self._bell.acquire()
        self._is_asleep = False

    def run(self, skip: Callable[[int], bool] | None) -> None:
        """Execute the plan, but for the Tasks to `skip`; raises what a Task raised where that ends the execution."""
        outer = current_token()
        set_current_token(self._token)
        try:
            self._start(skip)
            self._take_part()
        finally:
            # Whatever happened: nothing that still runs may write any more.
            with self._lock:
                self._token.is_ended = True
            set_current_token(outer)
        if self._fatal:
            raise self._fatal

    @property
    def succeeded(self) -> set[int]:
        """The Tasks that ended well, or were skipped."""
        return self._skipped | {number for number, *_, error in self._spans if error is None}

    def _start(self, skip: Callable[[int], bool] | None) -> None:
        with self._lock:
            for number, count in enumerate(self._waits_for):
                if not count:
                    self._make_ready(number)
            if skip:
                self._skip(skip)

    def _skip(self, skip: Callable[[int], bool]) -> None:
        """Count Tasks as done; those behind them become ready in the order of the plan."""
        for ready in (self._quick, self._slow, self._timed):
            ready.clear()
        for number in range(len(self._plan.tasks)):
            if skip(number):
                self._skipped.add(number)
                self._to_do -= 1
                for successor in self._plan.successors[number]:
                    self._waits_for[successor] -= 1
        for number, count in enumerate(self._waits_for):
            if not count and number not in self._skipped:
                self._make_ready(number)

    def _take_part(self) -> None:
        """What the calling thread does until the execution is over."""
        thread = threading.current_thread().name
        while True:
            with self._lock:
                if self._token.is_ended or not self._to_do:
                    return
                number = self._next(is_caller=True)
                self._is_asleep = number is None
            if number is None:
                self._sleep()
            else:
                self._work(number, thread, is_caller=True)

    def _help(self) -> None:
        """What a thread of the pool does here until there is nothing more to do."""
        with self._lock:
            self._coming -= 1
            self._helping += 1
            number = self._next(is_caller=False)
        self._help_with(number)

    def _help_late(self) -> None:
        with self._lock:
            self._is_queued = False
            self._helping += 1
            number = self._next(is_caller=False)
        self._help_with(number)

    def _help_with(self, number: int | None) -> None:
        outer = current_token()
        if number is not None:
            set_current_token(self._token)
            self._work(number, threading.current_thread().name, is_caller=False)
            set_current_token(outer)
        self._leave()

    def _leave(self) -> None:
        with self._lock:
            self._helping -= 1
            if self._quick or self._slow or self._timed or not self._to_do:
                self._ring()

    def _in_own_thread(self, number: int, token: Token) -> None:
        """A Task with a time limit, and nothing else: a thread that does not come back must not be one of the pool."""
        set_current_token(token)
        self._work(number, threading.current_thread().name, is_caller=False, is_alone=True)
        with self._lock:
            is_lost = number in self._lost
        if not is_lost:
            self._leave()

    def _work(self, first: int, thread: str, *, is_caller: bool, is_alone: bool = False) -> None:
        """Run a Task, and, unless it `is_alone`, whatever this thread is to run next, until there is nothing for it.

        This is all that a short Task costs, and so is written out in one piece.
        """
        plan, lock, token, values = self._plan, self._lock, self._token, self._values
        clock, waits_for, quick, listeners = time.perf_counter, self._waits_for, self._quick, self._listeners
        reads, writes, widths, names, was_quick = plan.reads, plan.writes, plan.widths, plan.names, plan.was_quick
        done = self._spans.append
        number: int | None = first
        while number is not None:
            written: dict[str, Any] = {}
            view = TaskView(values, written, reads[number], writes[number], names[number])
            started = clock()
            if listeners:
                self._tell(EventKind.STARTED, number, thread)
            try:
                if plan.is_plain[number]:
                    returned = plan.tasks[number].execute(view)
                    if returned is not view or len(written) != widths[number]:
                        raise broken_promise(names[number], view, returned, writes[number], written)
                else:
                    self._try(number, view, written, thread)
            except BaseException as error:
                number = self._fail(Span(number, thread, started, clock(), error), is_caller=is_caller)
                continue
            ended, finished = clock(), number
            was_quick[number] = ended - started < QUICK_S and plan.can_be_quick[number]
            with lock:
                if token.is_ended or number in self.failed:
                    return
                done((number, thread, started, ended, None))
                values.update(written)
                self._to_do -= 1
                for successor in plan.successors[number]:
                    waits_for[successor] -= 1
                    if not waits_for[successor]:
                        if was_quick[successor]:
                            quick.append(successor)
                        else:
                            self._make_ready(successor)
                if is_alone:
                    del self._deadlines[number]
                    number = None
                elif quick and not self._slow and not self._timed:
                    number = quick.popleft()
                else:
                    number = self._next(is_caller=is_caller)
            if listeners:
                self._tell(EventKind.SUCCEEDED, finished, thread)

    def _try(self, number: int, view: TaskView, written: dict[str, Any], thread: str) -> None:
        """Run a Task as often as its `retry` says, in a process of its own where it asks for one."""
        task, retry = self._plan.tasks[number], self._plan.tasks[number].retry
        for attempt in itertools.count(1):
            written.clear()
            try:
                if task.isolate == "process":
                    from mlpipe.workflow.isolation import execute_in_process  # the import takes milliseconds

                    inputs = {key: self._values[key] for key in self._plan.reads[number]}
                    written.update(execute_in_process(task, inputs, self._plan.writes[number]))
                else:
                    returned = task.execute(view)
                    if returned is not view or len(written) != len(self._plan.writes[number]):
                        raise broken_promise(task.name, view, returned, self._plan.writes[number], written)
                return
            except Exception as error:
                if retry is None or attempt >= retry.attempts or not isinstance(error, retry.on) or cancelled():
                    raise
                self._tell(EventKind.RETRIED, number, thread, error)
                pause(retry.wait_s * retry.factor ** (attempt - 1), error)

    def _fail(self, span: Span, *, is_caller: bool) -> int | None:
        """Take note of a failure; returns the Task that this thread is to run next."""
        number, error = span.number, span.error
        assert error is not None
        error.add_note(f"while {self._plan.names[number]} was running")
        with self._lock:
            counts = not self._token.is_ended and number not in self.failed
            if counts:
                self._spans.append(span)
                self._count_out(number, error)
            is_timed = self._plan.is_timed[number]  # then its thread ends with it
            self._deadlines.pop(number, None)
            following = None if is_timed else self._next(is_caller=is_caller)
        if counts:
            self._tell(EventKind.FAILED, number, span.thread, error)
        return following

    def _count_out(self, number: int, error: BaseException) -> None:
        """A Task has failed: end the execution, or give up everything that needs it."""
        self.failed[number] = error
        if self._is_failing_fast or not isinstance(error, Exception):  # an interrupt is nobody's outcome
            self._token.is_ended, self._fatal = True, error
        before, todo = len(self._blocked), [number]
        while todo:
            behind = [each for each in self._plan.successors[todo.pop()] if each not in self._blocked]
            self._blocked.update(behind)
            todo += behind
        self._to_do -= 1 + len(self._blocked) - before
        if self._fatal or not self._to_do:
            self._ring()

    def _make_ready(self, number: int) -> None:
        if self._plan.was_quick[number]:
            self._quick.append(number)
        else:
            (self._timed if self._plan.is_timed[number] else self._slow).append(number)

    def _next(self, *, is_caller: bool) -> int | None:
        """The Task that this thread is to run now; others are invited to run what it leaves."""
        if self._token.is_ended:
            return None
        if not self._to_do:
            self._ring()
            return None
        if self._timed:
            self._start_timed()
        if self._slow:
            is_alone = is_caller and not (self._helping or self._coming or self._quick or len(self._slow) > 1)
            if self._slow and (is_alone or not is_caller):
                number = self._slow.popleft()
                self._invite()
                return number
            self._invite()
        if self._quick:
            return self._quick.popleft()
        if self._slow and is_caller and not (self._helping or self._coming):
            return self._slow.popleft()  # every thread of the pool is busy elsewhere
        return None

    def _invite(self) -> None:
        """Ask for a thread for every slow Task that none is coming for."""
        while len(self._slow) > self._coming:
            if not self._pool.invite(self._help, later=None if self._is_queued else self._help_late):
                self._is_queued = True
                return
            self._coming += 1

    def _start_timed(self) -> None:
        """Start Tasks with a time limit, each in a thread of its own, as many at a time as the pool has threads."""
        while self._timed and len(self._deadlines) < MAX_THREADS:
            number = self._timed.popleft()
            token = Token(self._token)
            self._deadlines[number] = (time.perf_counter() + (self._plan.tasks[number].timeout_s or 0), token)
            self._helping += 1
            name = f"mlpipe-{self._plan.names[number]}"
            threading.Thread(target=self._in_own_thread, args=(number, token), name=name, daemon=True).start()
            self._ring()

    def _ring(self) -> None:
        if self._is_asleep:
            self._is_asleep = False
            self._bell.release()

    def _sleep(self) -> None:
        """Wait until there is something for the calling thread: an end, a Task, or a time that is over."""
        deadlines = [deadline for deadline, _ in list(self._deadlines.values())]
        seconds = max(0.0, min(deadlines) - time.perf_counter()) if deadlines else -1
        if not self._bell.acquire(timeout=seconds):
            with self._lock:
                if self._is_asleep:
                    self._is_asleep = False
                else:
                    self._bell.acquire()  # rung at the last moment
                overdue = self._end_overdue()
            for span in overdue:
                self._tell(EventKind.FAILED, span.number, span.thread, span.error)

    def _end_overdue(self) -> list[Span]:
        """Count out the Tasks whose time is over."""
        overdue: list[Span] = []
        now = time.perf_counter()
        for number, (deadline, token) in list(self._deadlines.items()):
            if now >= deadline and number in self._deadlines:
                del self._deadlines[number]
                self._lost.add(number)
                token.is_ended = True
                self._helping -= 1
                task = self._plan.tasks[number]
                error = TaskTimeout(
                    f"{task.name} took longer than its {task.timeout_s} seconds",
                    hint='its thread was told and left alone; isolate = "process" would have ended it',
                )
                overdue.append(Span(number, f"mlpipe-{task.name}", deadline - (task.timeout_s or 0), now, error))
                self._spans.append(overdue[-1])
                self._count_out(number, error)
        return overdue

    def _tell(self, kind: EventKind, number: int, thread: str, error: BaseException | None = None) -> None:
        if self._listeners:
            event = Event(kind, number, self._plan.names[number], time.perf_counter(), thread, error)
            tell(self._listeners, event)


def broken_promise(
    name: str, view: TaskView, returned: object, writes: frozenset[str], written: dict[str, Any]
) -> PlanError:
    """The error of a Task that returned something else than its pipeline, or did not write what it declared."""
    if returned is not view:
        return PlanError(f"{name}.execute returned {returned!r}; it has to return the pipeline that it was given")
    return PlanError(f"{name} did not write {', '.join(repr(key) for key in sorted(writes - written.keys()))}")


def pause(seconds: float, error: Exception) -> None:
    """Wait before a Task is tried again; raises its `error` when nobody waits for it any more."""
    until = time.monotonic() + seconds
    while (left := until - time.monotonic()) > 0:
        if cancelled():
            raise error
        time.sleep(min(PAUSE_S, left))
