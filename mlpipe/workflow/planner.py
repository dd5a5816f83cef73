"""From Tasks to a plan: who has to run before whom, known before anything runs."""

from __future__ import annotations

import graphlib
import warnings
from collections.abc import Collection, Iterator, Mapping, Sequence

from mlpipe.errors import PlanError
from mlpipe.workflow.task import Task, check_declaration


class PlanWarning(UserWarning):
    """Something in a plan that can run, but is hardly what was meant."""


class TaskPlan:
    """Tasks in an order in which they can run; iterating gives the stages, each a tuple of independent Tasks.

    A plan never changes: it can be kept, and executed any number of times by any number of threads at once. `str` shows
    its stages, one a line.
    """

    def __init__(self, stages: Sequence[tuple[Task, ...]], producers: Mapping[str, Task]) -> None:
        self._stages = tuple(stages)
        self.tasks = tuple(task for stage in stages for task in stage)
        """All Tasks, each behind those that it waits for."""
        self.producers = dict(producers)
        """Who writes each key."""
        inputs = dict.fromkeys(key for task in self.tasks for key in (*task.input_keys, *task.context_keys))
        self.external_keys = tuple(key for key in inputs if key not in producers)
        """Keys that some Task reads and none writes: the pipeline has to hold them before the first Task runs."""
        numbers = {id(task): number for number, task in enumerate(self.tasks)}
        self.dependencies = tuple(
            tuple(dict.fromkeys(numbers[id(producers[key])] for key in task.input_keys if key in producers))
            for task in self.tasks
        )
        """By the number of each Task, the numbers of those that it waits for."""
        successors: list[list[int]] = [[] for _ in self.tasks]
        for number, before in enumerate(self.dependencies):
            for each in before:
                successors[each].append(number)
        self.successors = tuple(map(tuple, successors))
        """By the number of each Task, the numbers of those that wait for it."""
        self.reads = tuple(frozenset((*task.input_keys, *task.context_keys)) for task in self.tasks)
        self.writes = tuple(frozenset(task.output_keys) for task in self.tasks)
        self.names = tuple(task.name for task in self.tasks)
        self.is_plain = tuple(task.retry is None and task.isolate == "thread" for task in self.tasks)
        """Whether each Task is simply called."""
        self.is_timed = tuple(task.timeout_s is not None and task.isolate == "thread" for task in self.tasks)
        """Whether each Task has a time limit that the executor has to watch."""
        self.was_quick = [False] * len(self.tasks)
        """What the executor learns about the Tasks: whether each took no time to speak of when it ran last."""

    def __iter__(self) -> Iterator[tuple[Task, ...]]:
        return iter(self._stages)

    def __str__(self) -> str:
        return "\n".join(
            f"{number}. {', '.join(task.name for task in stage)}" for number, stage in enumerate(self._stages, start=1)
        )

    @property
    def edges(self) -> list[tuple[int, int, tuple[str, ...]]]:
        """Who hands what to whom: the numbers of two Tasks, and keys."""
        return [
            (before, after, tuple(key for key in self.tasks[before].output_keys if key in self.reads[after]))
            for after, befores in enumerate(self.dependencies)
            for before in befores
        ]


def get_task_plan(tasks: Sequence[Task], wanted: Collection[str] | None = None) -> TaskPlan:
    """Sort `tasks` by their declared keys.

    `wanted` are the keys that the caller will read in the end: any other that no task reads is a PlanWarning. Without
    it, what a task writes and nobody reads counts as wanted if nothing of that task's outputs is read.

    Raises PlanError where there is no task, where two tasks write one key (both are named), where a task declares no
    keys, and where tasks wait for each other (the path is named).
    """
    if not tasks:
        raise PlanError("a plan needs at least one task")
    producers = _producers(tasks)
    position = {id(task): number for number, task in enumerate(tasks)}
    sorter = graphlib.TopologicalSorter(
        {
            number: [position[id(producers[key])] for key in task.input_keys if key in producers]
            for number, task in enumerate(tasks)
        }
    )
    try:
        sorter.prepare()
    except graphlib.CycleError as error:
        path = " -> ".join(tasks[number].name for number in error.args[1])
        raise PlanError(f"these tasks wait for each other: {path}") from error
    stages: list[tuple[Task, ...]] = []
    while sorter.is_active():
        ready = sorted(sorter.get_ready())
        stages.append(tuple(tasks[number] for number in ready))
        sorter.done(*ready)
    _warn_of_unread(tasks, wanted)
    return TaskPlan(stages, producers)


def check_inputs(plan: TaskPlan, available: Collection[str]) -> None:
    """Raise PlanError, naming reader and nearest key, where a key that no task writes is not `available` either."""
    for key in plan.external_keys:
        if key not in available:
            import difflib  # not needed for a plan that can run

            reader = next(name for name, reads in zip(plan.names, plan.reads, strict=True) if key in reads)
            near = difflib.get_close_matches(key, [*plan.producers, *available], n=1)
            hint = (
                f"did you mean {near[0]!r}?" if near else f"put it into the Pipeline, or add a task that writes {key!r}"
            )
            raise PlanError(f"{reader} reads {key!r}, which no task writes", hint=hint)


def _producers(tasks: Sequence[Task]) -> dict[str, Task]:
    producers: dict[str, Task] = {}
    seen: set[int] = set()
    for task in tasks:
        check_declaration(task)
        if id(task) in seen:
            raise PlanError(f"{task.name} stands in the plan twice; make a second one if it is to run twice")
        seen.add(id(task))
        for key in task.output_keys:
            if key in producers:
                raise PlanError(f"{producers[key].name} and {task.name} both write {key!r}")
            producers[key] = task
    return producers


def _warn_of_unread(tasks: Sequence[Task], wanted: Collection[str] | None) -> None:
    read = {key for task in tasks for key in task.input_keys}
    for task in tasks:
        unread = [key for key in task.output_keys if key not in read]
        is_result = wanted is None and len(unread) == len(task.output_keys)
        for key in unread if not is_result else ():
            if key not in (wanted or ()):
                warnings.warn(f"{task.name} writes {key!r}, which nobody reads", PlanWarning, stacklevel=3)
