"""From Tasks to a plan: who has to run before whom, known before anything runs."""

from __future__ import annotations

import difflib
import graphlib
from collections.abc import Collection, Iterator, Sequence

from mlpipe.errors import PlanError
from mlpipe.workflow.task import Task, check_declaration


class TaskPlan:
    """Tasks in an order in which they can run; iterating gives the stages, each a tuple of independent Tasks."""

    def __init__(self, stages: Sequence[tuple[Task, ...]], external_keys: Collection[str]) -> None:
        self._stages = tuple(stages)
        self.external_keys = tuple(external_keys)
        """Keys that some Task reads and none writes: the pipeline has to hold them before the first Task runs."""

    def __iter__(self) -> Iterator[tuple[Task, ...]]:
        return iter(self._stages)


def get_task_plan(tasks: Sequence[Task]) -> TaskPlan:
    """Sort `tasks` by their declared keys.

    Raises PlanError where there is no task, where two tasks write one key (both are named), where a task declares no
    keys, and where tasks wait for each other (the path is named).
    """
    if not tasks:
        raise PlanError("a plan needs at least one task")
    producers: dict[str, Task] = {}
    for task in tasks:
        check_declaration(task)
        for key in task.output_keys:
            if key in producers:
                raise PlanError(f"{producers[key].name} and {task.name} both write {key!r}")
            producers[key] = task
    sorter = graphlib.TopologicalSorter(
        {task: [producers[key] for key in task.input_keys if key in producers] for task in tasks}
    )
    try:
        sorter.prepare()
    except graphlib.CycleError as error:
        path = " -> ".join(task.name for task in error.args[1])
        raise PlanError(f"these tasks wait for each other: {path}") from error
    position = {task: number for number, task in enumerate(tasks)}
    stages: list[tuple[Task, ...]] = []
    while sorter.is_active():
        ready = sorted(sorter.get_ready(), key=position.__getitem__)
        stages.append(tuple(ready))
        sorter.done(*ready)
    external = dict.fromkeys(key for task in tasks for key in task.input_keys if key not in producers)
    return TaskPlan(stages, external)


def check_inputs(plan: TaskPlan, available: Collection[str]) -> None:
    """Raise PlanError, naming reader and nearest key, where a key that no task writes is not `available` either."""
    known = {key for stage in plan for task in stage for key in task.output_keys} | set(available)
    for key in plan.external_keys:
        if key not in available:
            reader = next(task.name for stage in plan for task in stage if key in task.input_keys)
            near = difflib.get_close_matches(key, known, n=1)
            hint = (
                f"did you mean {near[0]!r}?" if near else f"put it into the Pipeline, or add a task that writes {key!r}"
            )
            raise PlanError(f"{reader} reads {key!r}, which no task writes", hint=hint)
