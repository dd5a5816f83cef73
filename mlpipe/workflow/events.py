"""What happens while a plan is executed, and who is told."""

from __future__ import annotations

import enum
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from mlpipe.workflow.planner import TaskPlan


class EventKind(enum.StrEnum):
    """What can happen to a Task."""

    STARTED = "started"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    RETRIED = "retried"


class Event(NamedTuple):
    """Something that happened to a Task: its number in the plan and its name, when, and in which thread.

    `at` is in seconds of `time.perf_counter()`; `error` is what a Task failed with, or is retried for.
    """

    kind: EventKind
    number: int
    task: str
    at: float
    thread: str
    error: BaseException | None = None


Listener = Callable[[Event], object]
"""Who is told of events, in the thread where they happen and before anything else happens in it."""


def tell(listeners: Sequence[Listener], event: Event) -> None:
    """Tell every listener; one that raises is logged, and the work goes on."""
    for listener in listeners:
        try:
            listener(event)
        except Exception:
            import logging  # not needed to execute a plan

            logger = logging.getLogger(__name__)
            logger.warning("the listener %r failed on %s of %s", listener, event.kind, event.task, exc_info=True)


class Span(NamedTuple):
    """A Task from its start to its end, tries and pauses included: its number in the plan, the thread, and when.

    Times are in seconds of `time.perf_counter()`; `error` is what it failed with.
    """

    number: int
    thread: str
    started: float
    ended: float
    error: BaseException | None = None

    @property
    def seconds(self) -> float:
        """How long it took."""
        return self.ended - self.started


class Trace:
    """Where the time of an execution went: give one to `execute_task_plan`, and look at it afterwards."""

    def __init__(self) -> None:
        self.spans: list[Span] = []
        """Every Task that has ended, in the order in which they ended."""

    def to_chrome(self, plan: TaskPlan) -> str:
        """The spans in Chrome's trace format, for chrome://tracing or https://ui.perfetto.dev.

        https://docs.google.com/document/d/1CvAClvFfyA5R-PhYUmn5OOQtYMH4h6I0nSsKchNAySU: complete events, times in
        microseconds from the first start.
        """
        import json  # not needed to execute a plan

        origin = min((span.started for span in self.spans), default=0.0)
        threads = {name: number for number, name in enumerate(dict.fromkeys(span.thread for span in self.spans))}
        events: list[dict[str, Any]] = [
            {"ph": "M", "name": "thread_name", "pid": 1, "tid": number, "args": {"name": name}}
            for name, number in threads.items()
        ]
        for span in self.spans:
            event = {"ph": "X", "name": plan.names[span.number], "pid": 1, "tid": threads[span.thread]}
            event |= {"ts": (span.started - origin) * 1e6, "dur": span.seconds * 1e6}
            events.append({**event, "args": {"error": repr(span.error)} if span.error else {}})
        return json.dumps({"traceEvents": events})

    def critical_path(self, plan: TaskPlan) -> list[tuple[str, float]]:
        """The Tasks that the others waited for, in order, each with its seconds: the whole is as fast as they are.

        From the Task that ended last back, each time to the one that it had to wait for longest.
        """
        spans = {span.number: span for span in self.spans}
        path: list[tuple[str, float]] = []
        number = max(spans, key=lambda each: spans[each].ended, default=None)
        while number is not None:
            path.append((plan.names[number], spans[number].seconds))
            before = [each for each in plan.dependencies[number] if each in spans]
            number = max(before, key=lambda each: spans[each].ended, default=None)
        return path[::-1]

    def summary(self, plan: TaskPlan) -> str:
        """The critical path in words, and how much was done beside it."""
        path = self.critical_path(plan)
        lines = [f"{seconds:9.3f} s  {name}" for name, seconds in path]
        on_path, in_all = sum(seconds for _, seconds in path), sum(span.seconds for span in self.spans)
        return "\n".join(["critical path:", *lines, f"{on_path:9.3f} s of {in_all:.3f} s of work in all"])
