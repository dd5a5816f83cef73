"""Running a plan: every Task as soon as what it reads is there."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Literal, NamedTuple, overload

from mlpipe.workflow.events import Listener, Trace
from mlpipe.workflow.execution import Execution
from mlpipe.workflow.pipeline import Pipeline
from mlpipe.workflow.planner import TaskPlan, check_inputs


class Outcome(NamedTuple):
    """What became of the Tasks of a plan, by name, in the order of the plan."""

    pipeline: Pipeline
    succeeded: tuple[str, ...]
    failed: Mapping[str, BaseException]
    never_ran: tuple[str, ...]
    """Those that needed something of a Task that failed."""


@overload
def execute_task_plan(
    plan: TaskPlan,
    pipeline: Pipeline,
    *,
    on_failure: Literal["raise"] = "raise",
    resume: bool = False,
    listeners: Sequence[Listener] = (),
    trace: Trace | None = None,
) -> Pipeline: ...
@overload
def execute_task_plan(
    plan: TaskPlan,
    pipeline: Pipeline,
    *,
    on_failure: Literal["finish"],
    resume: bool = False,
    listeners: Sequence[Listener] = (),
    trace: Trace | None = None,
) -> Outcome: ...
def execute_task_plan(
    plan: TaskPlan,
    pipeline: Pipeline,
    *,
    on_failure: Literal["raise", "finish"] = "raise",
    resume: bool = False,
    listeners: Sequence[Listener] = (),
    trace: Trace | None = None,
) -> Pipeline | Outcome:
    """Run every Task of `plan` on `pipeline` and return it with all outputs in it.

    A Task starts as soon as its inputs are there, in this thread or in one that all executions of the process share.
    The first exception of a Task ends the execution and reaches the caller with the Task named in a note, without
    waiting for the Tasks beside it: they are told through `cancelled()`, and what they still write is dropped. What
    was done before is in the pipeline, and `resume` skips the Tasks whose outputs are there already.

    `listeners` are told of every event while it happens, and a `trace` holds the times of all Tasks afterwards.
    With `on_failure="finish"` everything that does not need the failed Task is run all the same, and the Outcome says
    what became of each.

    Raises PlanError where an input is missing, where a Task breaks its own declaration, and where the pipeline is
    being executed already.
    """
    check_inputs(plan, list(pipeline))
    with pipeline.in_use() as values:
        spans = (trace or Trace()).spans
        fast = on_failure == "raise"
        execution = Execution(plan, values, is_failing_fast=fast, listeners=listeners, spans=spans)
        execution.run(skip=_is_there(plan, values) if resume else None)
    if on_failure == "raise":
        return pipeline
    succeeded, failed, names = execution.succeeded, execution.failed, list(enumerate(plan.names))
    return Outcome(
        pipeline,
        succeeded=tuple(name for number, name in names if number in succeeded),
        failed={name: failed[number] for number, name in names if number in failed},
        never_ran=tuple(name for number, name in names if number not in succeeded and number not in failed),
    )


def _is_there(plan: TaskPlan, values: Mapping[str, object]) -> Callable[[int], bool]:
    return lambda number: bool(plan.writes[number]) and all(key in values for key in plan.writes[number])
