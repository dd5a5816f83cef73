"""When Tasks run, in which threads, and how an execution ends."""

from __future__ import annotations

import itertools
import logging
import os
import threading
import time
import traceback
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from unit.workflow.isolated_tasks import Isolated
from unit.workflow.small_tasks import ENOUGH_S, fail, task, wait_for

from mlpipe.errors import PlanError, TaskError
from mlpipe.workflow import (
    Event,
    EventKind,
    Pipeline,
    Retry,
    Trace,
    cancelled,
    execute_task_plan,
    get_task_plan,
)


def test_a_task_starts_as_soon_as_its_inputs_are_there_and_not_when_a_stage_ends():
    behind = threading.Event()
    tasks = [
        task("Slow", "", "slow", wait_for(behind)),  # ends only after a task of the next stage has run
        task("Quick", "", "quick"),
        task("Behind", "quick", "behind", lambda pipeline: behind.set()),
        task("Join", "slow behind", "end"),
    ]
    assert execute_task_plan(get_task_plan(tasks), Pipeline())["end"] == "Join"


def test_independent_tasks_run_at_the_same_time():
    barrier = threading.Barrier(4)
    tasks = [task(f"T{number}", "", f"k{number}", lambda pipeline: barrier.wait(ENOUGH_S)) for number in range(4)]
    execute_task_plan(get_task_plan(tasks), Pipeline())


def test_a_lone_task_runs_in_the_thread_that_asked_for_it():
    threads: list[str] = []
    note = lambda pipeline: threads.append(threading.current_thread().name)  # noqa: E731
    execute_task_plan(get_task_plan([task("A", "", "a", note), task("B", "a", "b", note)]), Pipeline())
    assert threads == [threading.current_thread().name] * 2


def test_tasks_that_were_quick_before_are_not_handed_over():
    threads: set[str] = set()
    note = lambda pipeline: threads.add(threading.current_thread().name)  # noqa: E731
    plan = get_task_plan([task(f"T{number}", "", f"k{number}", note) for number in range(20)])
    for _ in range(3):
        threads.clear()
        execute_task_plan(plan, Pipeline())
    assert threads == {threading.current_thread().name}


def test_a_failure_reaches_the_caller_while_the_task_beside_it_still_runs():
    failed, late, told = threading.Event(), threading.Event(), []

    def linger(pipeline: Pipeline) -> None:
        assert failed.wait(ENOUGH_S)
        while not cancelled():
            time.sleep(0.001)
        told.append(True)
        late.set()

    pipeline = Pipeline()
    tasks = [task("Lingers", "", "late", linger), task("Fails", "", "never", fail)]
    with pytest.raises(ValueError, match="as ordered") as caught:
        execute_task_plan(get_task_plan(tasks), pipeline)
    assert not told  # the other one waits for this very moment
    failed.set()
    assert late.wait(ENOUGH_S)
    assert "while Fails was running" in caught.value.__notes__
    assert "in fail" in "".join(traceback.format_exception(caught.value))
    time.sleep(0.05)
    assert list(pipeline) == []  # what came late was dropped


def test_with_finish_everything_that_can_be_done_is_done():
    tasks = [
        task("Fails", "", "a", fail),
        task("Needs", "a", "b"),
        task("NeedsToo", "b c", "d"),
        task("Free", "", "c"),
        task("BehindFree", "c", "e"),
    ]
    outcome = execute_task_plan(get_task_plan(tasks), Pipeline(), on_failure="finish")
    assert set(outcome.succeeded) == {"Free", "BehindFree"}
    assert set(outcome.never_ran) == {"Needs", "NeedsToo"}
    assert isinstance(outcome.failed["Fails"], ValueError)
    assert sorted(outcome.pipeline) == ["c", "e"]


@pytest.mark.faults  # row 31
def test_after_a_failure_only_what_is_missing_is_run_again():
    ran: list[str] = []
    broken = [True]

    def note(name: str) -> Callable[[Pipeline], None]:
        return lambda pipeline: ran.append(name)

    def once(pipeline: Pipeline) -> None:
        ran.append("B")
        if broken[0]:
            raise ValueError("not yet")

    plan = get_task_plan([task("A", "", "a", note("A")), task("B", "a", "b", once), task("C", "b", "c", note("C"))])
    pipeline = Pipeline()
    with pytest.raises(ValueError, match="not yet"):
        execute_task_plan(plan, pipeline)
    broken[0] = False
    execute_task_plan(plan, pipeline, resume=True)
    assert ran == ["A", "B", "B", "C"]
    execute_task_plan(plan, pipeline, resume=True)
    assert ran == ["A", "B", "B", "C"]


@pytest.mark.faults  # row 31
def test_two_executions_of_one_pipeline_are_refused():
    started, go_on = threading.Event(), threading.Event()

    def hold(pipeline: Pipeline) -> None:
        started.set()
        assert go_on.wait(ENOUGH_S)

    plan, pipeline = get_task_plan([task("Holds", "", "a", hold)]), Pipeline()
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(execute_task_plan, plan, pipeline)
        assert started.wait(ENOUGH_S)
        with pytest.raises(PlanError, match="is being executed on this pipeline already"):
            execute_task_plan(plan, pipeline)
        go_on.set()
        assert first.result()["a"] == "Holds"


@pytest.mark.parametrize("error", [SystemExit(3), KeyboardInterrupt(), GeneratorExit()])
def test_whatever_a_task_raises_ends_the_execution(error: BaseException):
    def leave(pipeline: Pipeline) -> None:
        raise error

    tasks = [task("Leaves", "", "a", leave), task("Other", "", "b", lambda pipeline: time.sleep(0.01))]
    with pytest.raises(type(error)):
        execute_task_plan(get_task_plan(tasks), Pipeline())


def test_a_chain_of_ten_thousand_tasks_is_no_problem():
    tasks = [task(f"T{number}", f"k{number - 1}" if number else "", f"k{number}") for number in range(10_000)]
    assert execute_task_plan(get_task_plan(tasks[::-1]), Pipeline())["k9999"] == "T9999"


def test_one_plan_is_run_by_sixteen_threads_at_once():
    tasks = [task("Root", "start", "r")]
    tasks += [task(f"W{number}", "r", f"w{number}", lambda pipeline: time.sleep(0.002)) for number in range(8)]
    tasks.append(task("Join", " ".join(f"w{number}" for number in range(8)), "end"))
    plan = get_task_plan(tasks)

    def one(number: int) -> object:
        pipeline = execute_task_plan(plan, Pipeline({"start": number}))
        return (pipeline["start"], pipeline["end"], len(list(pipeline)))

    with ThreadPoolExecutor(16) as pool:
        assert list(pool.map(one, range(64))) == [(number, "Join", 11) for number in range(64)]


def test_executions_inside_of_tasks_do_not_run_out_of_threads():
    inner = get_task_plan(
        [task(f"I{number}", "", f"i{number}", lambda pipeline: time.sleep(0.001)) for number in range(3)]
    )
    nest = lambda pipeline: execute_task_plan(inner, Pipeline())  # noqa: E731
    outer = get_task_plan([task(f"O{number}", "", f"o{number}", nest) for number in range(60)])
    assert len(list(execute_task_plan(outer, Pipeline()))) == 60


def test_a_task_is_tried_again_as_often_as_it_says_and_only_for_what_it_says():
    calls: list[str] = []

    def flaky(pipeline: Pipeline) -> None:
        calls.append("flaky")
        if len(calls) < 3:
            raise ConnectionError("gone")

    retry = Retry(on=(ConnectionError,), attempts=3, wait_s=0.001)
    events: list[Event] = []
    plan = get_task_plan([task("Flaky", "", "a", flaky, retry=retry)])
    assert execute_task_plan(plan, Pipeline(), listeners=[events.append])["a"] == "Flaky"
    assert [event.kind for event in events] == [
        EventKind.STARTED,
        EventKind.RETRIED,
        EventKind.RETRIED,
        EventKind.SUCCEEDED,
    ]
    calls.clear()
    with pytest.raises(ConnectionError):
        execute_task_plan(get_task_plan([task("Two", "", "a", flaky, retry=retry._replace(attempts=2))]), Pipeline())
    assert len(calls) == 2
    failing = task("Fails", "", "a", lambda pipeline: (calls.append("fail"), fail(pipeline)), retry=retry)
    with pytest.raises(ValueError, match="as ordered"):
        execute_task_plan(get_task_plan([failing]), Pipeline())
    assert calls.count("fail") == 1


def test_a_task_in_a_process_of_its_own_writes_as_any_other():
    answer = execute_task_plan(get_task_plan([Isolated()]), Pipeline({"how": "answer"}))["answer"]
    assert answer not in (None, os.getpid())


@pytest.mark.parametrize(
    ("how", "error", "message"),
    [
        ("raise", ValueError, "as ordered"),
        ("die", TaskError, "the process of Isolated died with exit code 7"),
        ("forget", PlanError, "Isolated did not write 'answer'"),
        ("unpicklable", TaskError, "Isolated cannot be run in a process of its own"),
    ],
)
def test_what_happens_in_a_process_of_its_own_reaches_the_caller(how: str, error: type[Exception], message: str):
    with pytest.raises(error, match=message):
        execute_task_plan(get_task_plan([Isolated()]), Pipeline({"how": how}))


def test_listeners_are_told_everything_and_one_that_raises_is_logged(caplog: pytest.LogCaptureFixture):
    events: list[Event] = []

    def broken(event: Event) -> None:
        raise RuntimeError("no ears")

    caplog.set_level(logging.WARNING)
    plan = get_task_plan([task("A", "", "a"), task("B", "a", "b", fail)])
    with pytest.raises(ValueError, match="as ordered"):
        execute_task_plan(plan, Pipeline(), listeners=[broken, events.append])
    assert [(event.kind, event.task) for event in events] == [
        (EventKind.STARTED, "A"),
        (EventKind.SUCCEEDED, "A"),
        (EventKind.STARTED, "B"),
        (EventKind.FAILED, "B"),
    ]
    assert isinstance(events[-1].error, ValueError)
    assert events[0].thread == threading.current_thread().name
    assert all(earlier.at <= later.at for earlier, later in itertools.pairwise(events))
    assert len(caplog.records) == 4


def test_a_trace_shows_every_task_and_the_ones_that_all_others_waited_for():
    sleep = lambda pipeline: time.sleep(0.02)  # noqa: E731
    tasks = [task("Root", "", "r"), task("Short", "r", "s"), task("Long", "r", "l", sleep), task("Join", "s l", "j")]
    plan, trace = get_task_plan(tasks), Trace()
    execute_task_plan(plan, Pipeline(), trace=trace)
    assert sorted(plan.names[span.number] for span in trace.spans) == ["Join", "Long", "Root", "Short"]
    assert [name for name, _ in trace.critical_path(plan)] == ["Root", "Long", "Join"]
    assert dict(trace.critical_path(plan))["Long"] >= 0.02
    assert "Long" in trace.summary(plan)


def test_an_interrupted_caller_leaves_at_once_and_tells_the_others():
    told, interrupted = threading.Event(), threading.Event()

    def linger(pipeline: Pipeline) -> None:
        assert interrupted.wait(ENOUGH_S)
        while not cancelled():
            time.sleep(0.001)
        told.set()

    def interrupt() -> None:
        time.sleep(0.1)
        os.kill(os.getpid(), 2)

    pipeline = Pipeline()
    plan = get_task_plan([task("A", "", "a", linger), task("B", "", "b", linger)])
    threading.Thread(target=interrupt).start()
    with pytest.raises(KeyboardInterrupt):
        execute_task_plan(plan, pipeline)
    interrupted.set()
    assert told.wait(ENOUGH_S)
    time.sleep(0.02)
    assert list(pipeline) == []


@pytest.mark.parametrize("error", [SystemExit(3), KeyboardInterrupt()])
def test_an_interrupt_is_no_outcome(error: BaseException):
    def leave(pipeline: Pipeline) -> None:
        raise error

    with pytest.raises(type(error)):
        execute_task_plan(get_task_plan([task("Leaves", "", "a", leave)]), Pipeline(), on_failure="finish")
