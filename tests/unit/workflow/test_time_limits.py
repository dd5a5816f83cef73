"""What a Task with a time limit does to an execution."""

from __future__ import annotations

import threading
import time

import pytest
from unit.workflow.isolated_tasks import Isolated
from unit.workflow.small_tasks import ENOUGH_S, task

from mlpipe.errors import TaskTimeout
from mlpipe.workflow import (
    Event,
    EventKind,
    Pipeline,
    cancelled,
    execute_task_plan,
    get_task_plan,
)
from mlpipe.workflow.pool import MAX_THREADS


def test_a_task_whose_time_is_over_is_told_and_what_it_writes_is_dropped():
    told = threading.Event()

    def linger(pipeline: Pipeline) -> None:
        while not cancelled():
            time.sleep(0.001)
        told.set()

    pipeline = Pipeline()
    plan = get_task_plan([task("Slow", "", "a", linger, timeout_s=0.05), task("Other", "", "b")])
    with pytest.raises(TaskTimeout, match=r"Slow took longer than its 0\.05 seconds"):
        execute_task_plan(plan, pipeline)
    assert told.wait(ENOUGH_S)
    time.sleep(0.02)
    assert "a" not in pipeline


def test_a_time_limit_that_is_kept_changes_nothing():
    tasks = [task("A", "", "a", timeout_s=ENOUGH_S), task("B", "a", "b", timeout_s=ENOUGH_S), task("C", "b", "c")]
    plan = get_task_plan(tasks)
    for _ in range(20):
        assert sorted(execute_task_plan(plan, Pipeline())) == ["a", "b", "c"]


def test_a_time_that_is_over_blocks_only_what_needs_the_task():
    slow = task("Slow", "", "a", lambda pipeline: [time.sleep(0.001) for _ in iter(cancelled, True)], timeout_s=0.02)
    plan = get_task_plan([slow, task("Needs", "a", "b"), task("Free", "", "c")])
    outcome = execute_task_plan(plan, Pipeline(), on_failure="finish")
    assert (outcome.succeeded, set(outcome.failed), outcome.never_ran) == (("Free",), {"Slow"}, ("Needs",))


def test_a_process_whose_time_is_over_is_really_ended():
    hurried = type("Hurried", (Isolated,), {"timeout_s": 1.0, "__reduce__": lambda self: (Isolated, ())})()
    with pytest.raises(TaskTimeout, match="its process was ended"):
        execute_task_plan(get_task_plan([hurried]), Pipeline({"how": "sleep"}))


def test_what_follows_a_task_with_a_time_limit_is_not_held_to_it():
    plan = get_task_plan(
        [task("Limited", "", "a", timeout_s=0.3), task("Long", "a", "b", lambda pipeline: time.sleep(0.5))]
    )
    seen: list[bool] = []
    asks = task("Asks", "b", "c", lambda pipeline: seen.append(cancelled()))
    assert execute_task_plan(get_task_plan([*plan.tasks, asks]), Pipeline())["b"] == "Long"
    assert seen == [False]


def test_every_task_ends_once_for_those_who_listen():
    def linger(pipeline: Pipeline) -> None:
        while not cancelled():
            time.sleep(0.001)
        time.sleep(0.01)

    events: list[Event] = []
    tasks = [task("Slow", "", "a", linger, timeout_s=0.02), task("Other", "", "b", lambda pipeline: time.sleep(0.1))]
    outcome = execute_task_plan(get_task_plan(tasks), Pipeline(), on_failure="finish", listeners=[events.append])
    assert set(outcome.failed) == {"Slow"}
    ends = sorted((event.task, str(event.kind)) for event in events if event.kind is not EventKind.STARTED)
    assert ends == [("Other", "succeeded"), ("Slow", "failed")]


def test_an_execution_ends_with_its_last_task_and_not_with_the_time_limit_of_that():
    tasks = [task(f"T{number}", "", f"k{number}", timeout_s=3600) for number in range(3)]
    execution = threading.Thread(target=execute_task_plan, args=(get_task_plan(tasks), Pipeline()), daemon=True)
    execution.start()
    execution.join(ENOUGH_S)
    assert not execution.is_alive()


def test_many_tasks_with_time_limits_take_turns():
    running, most, lock = [0], [0], threading.Lock()

    def count(pipeline: Pipeline) -> None:
        with lock:
            running[0] += 1
            most[0] = max(most[0], running[0])
        time.sleep(0.005)
        with lock:
            running[0] -= 1

    tasks = [task(f"T{number}", "", f"k{number}", count, timeout_s=ENOUGH_S) for number in range(100)]
    assert len(list(execute_task_plan(get_task_plan(tasks), Pipeline()))) == 100
    assert 1 < most[0] <= MAX_THREADS
