"""A Task in a process of its own: one that can really be ended."""

from __future__ import annotations

import multiprocessing
import time
import traceback
from collections.abc import Mapping
from multiprocessing.connection import Connection
from typing import Any

from mlpipe.errors import PlanError, TaskError, TaskTimeout
from mlpipe.workflow.cancellation import cancelled
from mlpipe.workflow.pipeline import TaskView
from mlpipe.workflow.task import Task

POLL_S = 0.05
"""How often the waiting thread looks whether the Task is still wanted."""


def execute_in_process(task: Task, inputs: Mapping[str, Any], writes: frozenset[str]) -> dict[str, Any]:
    """Run a Task in a new process, and return what it wrote.

    The process is started afresh (`spawn`), and killed when the Task's `timeout_s` is over or nobody waits for it any
    more. Raises what the Task raised, TaskTimeout, and TaskError where the process died.
    """
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=_child, args=(theirs, task, dict(inputs), writes), daemon=True)
    process.start()
    theirs.close()
    try:
        return _answer(task, process, ours)
    finally:
        process.kill()
        process.join()
        ours.close()


def _answer(task: Task, process: Any, connection: Connection) -> dict[str, Any]:
    deadline = time.monotonic() + task.timeout_s if task.timeout_s else None
    while not connection.poll(POLL_S):
        if deadline is not None and time.monotonic() >= deadline:
            raise TaskTimeout(f"{task.name} took longer than its {task.timeout_s} seconds; its process was ended")
        if cancelled():
            raise TaskError(f"{task.name} is not wanted any more; its process was ended")
    try:
        written, error, trace = connection.recv()
    except EOFError:
        process.join()
        raise TaskError(f"the process of {task.name} died with exit code {process.exitcode}") from None
    if error is not None:
        error.add_note(f"in its process:\n{trace}")
        raise error
    answer: dict[str, Any] = written
    return answer


def _child(connection: Connection, task: Task, inputs: Mapping[str, Any], writes: frozenset[str]) -> None:
    """The process: run the Task and send what it wrote, or what it raised."""
    written: dict[str, Any] = {}
    view = TaskView(inputs, written, frozenset(inputs), writes, task.name)
    answer: tuple[dict[str, Any], BaseException | None, str]
    try:
        returned = task.execute(view)
        if returned is not view:
            raise PlanError(f"{task.name}.execute did not return the pipeline that it was given")
        if missing := writes - written.keys():
            raise PlanError(f"{task.name} did not write {', '.join(map(repr, sorted(missing)))}")
        answer = (written, None, "")
    except BaseException as error:
        answer = ({}, error, traceback.format_exc())
    try:
        connection.send(answer)
    except Exception as error:  # what it wrote or raised is not picklable
        connection.send(({}, TaskError(f"{task.name} cannot be run in a process of its own: {error}"), ""))
