"""Tasks: what is to be done, and what it reads and writes."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Literal, NamedTuple

from mlpipe.errors import PlanError
from mlpipe.workflow.pipeline import Pipeline


class Retry(NamedTuple):
    """How often a Task is tried where it raises one of `on`, and the seconds between two tries.

    The first pause lasts `wait_s`, each further one `factor` times as long as the one before.
    """

    on: tuple[type[Exception], ...]
    attempts: int = 3
    wait_s: float = 1.0
    factor: float = 2.0


class Task(ABC):
    """One step of a workflow: it reads the values of `input_keys` and writes those of `output_keys`.

    A subclass declares both as class attributes, or sets them on the instance, and defines `execute`; the planner
    refuses a task without them. One instance may be executed by several threads at once, for several pipelines.
    """

    input_keys: Sequence[str]
    output_keys: Sequence[str]

    context_keys: Sequence[str] = ()
    """What a kind of Task reads beside the inputs of its own: values that are put in before the Tasks run."""
    retry: Retry | None = None
    """Whether, and how, a failure is tried again."""
    timeout_s: float | None = None
    """Seconds after which the Task counts as failed. A thread cannot be killed: one that runs on is told so through
    `cancelled()`, and what it still writes is dropped; with `isolate = "process"` the Task really ends."""
    isolate: Literal["thread", "process"] = "thread"
    """Where the Task runs. In a process of its own, the Task and what it reads and writes have to be picklable."""

    @property
    def name(self) -> str:
        """How messages call this task."""
        return type(self).__name__

    @abstractmethod
    def execute(self, pipeline: Pipeline) -> Pipeline:
        """Read the inputs from `pipeline`, write the outputs to it, and return it."""


def check_declaration(task: Task) -> None:
    """Raise PlanError unless a task declares its keys as sequences of strings, and limits that can be kept."""
    for attribute in ("input_keys", "output_keys"):
        # As it was declared: a property would be another list at every look.
        keys = vars(task).get(attribute, getattr(type(task), attribute, None))
        is_list = isinstance(keys, Sequence) and not isinstance(keys, str)
        if not is_list or not all(isinstance(key, str) for key in keys or ()):
            raise PlanError(f"{task.name} must declare {attribute} as a list of keys; it has {keys!r}")
    if task.isolate not in ("thread", "process"):
        raise PlanError(f"{task.name} has isolate = {task.isolate!r}; expected 'thread' or 'process'")
    if task.timeout_s is not None and not task.timeout_s > 0:
        raise PlanError(f"{task.name} has timeout_s = {task.timeout_s!r}; expected a number above 0, or None")
