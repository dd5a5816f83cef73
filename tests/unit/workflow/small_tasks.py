"""Tasks that do next to nothing, for tests of when they are run."""

from __future__ import annotations

import threading
from collections.abc import Callable

from mlpipe.workflow import Pipeline, Task

ENOUGH_S = 30.0
"""More than anything here takes; what is not there by then never comes."""


def task(
    name: str, reads: str = "", writes: str = "", do: Callable[[Pipeline], object] | None = None, **attributes: object
) -> Task:
    """A Task that calls `do` and writes its name to each of its outputs."""

    def execute(self: Task, pipeline: Pipeline) -> Pipeline:
        if do:
            do(pipeline)
        for key in self.output_keys:
            pipeline[key] = name
        return pipeline

    keys = {"input_keys": tuple(reads.split()), "output_keys": tuple(writes.split())}
    return type(name, (Task,), {**keys, "execute": execute, **attributes})()


def wait_for(event: threading.Event) -> Callable[[Pipeline], None]:
    """What a Task does that ends when the event is set."""

    def wait(pipeline: Pipeline) -> None:
        assert event.wait(ENOUGH_S)

    return wait


def fail(pipeline: Pipeline) -> None:
    """What a Task does that fails."""
    raise ValueError("as ordered")
