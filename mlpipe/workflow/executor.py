"""Running a plan, one Task after the other."""

from __future__ import annotations

from mlpipe.errors import PlanError
from mlpipe.workflow.planner import TaskPlan, check_inputs
from mlpipe.workflow.task import Pipeline, Task


def execute_task_plan(plan: TaskPlan, pipeline: Pipeline) -> Pipeline:
    """Run every Task of `plan` on `pipeline` and return it with all outputs in it.

    The first exception of a Task ends the execution and reaches the caller, with the task named in a note. Raises
    PlanError where an input is missing, and where a Task breaks its own declaration.
    """
    check_inputs(plan, list(pipeline))
    for stage in plan:
        for task in stage:
            _execute(task, pipeline)
    return pipeline


def _execute(task: Task, pipeline: Pipeline) -> None:
    view = pipeline.restricted_to(task)
    try:
        returned = task.execute(view)
    except Exception as error:
        error.add_note(f"while {task.name} was running")
        raise
    if returned is not view:
        raise PlanError(f"{task.name}.execute returned {returned!r}; it has to return the pipeline that it was given")
    missing = [key for key in task.output_keys if key not in pipeline]
    if missing:
        raise PlanError(f"{task.name} did not write {', '.join(map(repr, missing))}")
