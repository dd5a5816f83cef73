"""On any graph: every Task once, never before its producers, and the results of one after the other."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlpipe.workflow import Pipeline, Task, execute_task_plan, get_task_plan

Graph = list[list[int]]
"""By the number of each Task, the Tasks whose outputs it reads."""


class Adds(Task):
    """Writes a number that depends on everything before it."""

    def __init__(self, number: int, before: Sequence[int], *, log: list[tuple[str, int]], broken: int | None) -> None:
        self.number, self.log, self.broken = number, log, broken
        self.input_keys = tuple(f"k{each}" for each in before)
        self.output_keys = (f"k{number}",)

    @property
    def name(self) -> str:
        return f"T{self.number}"

    def execute(self, pipeline: Pipeline) -> Pipeline:
        self.log.append(("start", self.number))
        if self.number == self.broken:
            raise ZeroDivisionError(self.name)
        pipeline[self.output_keys[0]] = 1 + self.number + sum(2 * pipeline[key] for key in self.input_keys)
        self.log.append(("end", self.number))
        return pipeline


@st.composite
def graphs(draw: Any) -> Graph:
    size = draw(st.integers(1, 30))
    return [
        draw(st.lists(st.integers(0, number - 1), unique=True, max_size=4)) if number else [] for number in range(size)
    ]


def tasks_of(graph: Graph, log: list[tuple[str, int]], broken: int | None = None) -> list[Task]:
    return [Adds(number, before, log=log, broken=broken) for number, before in enumerate(graph)]


def serially(graph: Graph) -> dict[str, int]:
    values: dict[int, int] = {}
    for number, before in enumerate(graph):
        values[number] = 1 + number + sum(2 * values[each] for each in before)
    return {f"k{number}": value for number, value in values.items()}


def behind(graph: Graph, broken: int) -> set[int]:
    """Everything that needs the broken Task."""
    found = {broken}
    for number, before in enumerate(graph):
        if found & set(before):
            found.add(number)
    return found - {broken}


@pytest.mark.filterwarnings("ignore::mlpipe.workflow.PlanWarning")
@settings(max_examples=60, deadline=None)
@given(graph=graphs(), data=st.data())
def test_every_task_runs_once_behind_its_producers_with_the_results_of_a_serial_run(graph: Graph, data: Any):
    log: list[tuple[str, int]] = []
    tasks = tasks_of(graph, log)
    plan = get_task_plan(data.draw(st.permutations(tasks)))
    for _ in range(2):  # the second time, the executor knows which are quick
        log.clear()
        pipeline = execute_task_plan(plan, Pipeline())
        assert {key: pipeline[key] for key in pipeline} == serially(graph)
        assert sorted(number for what, number in log if what == "start") == list(range(len(graph)))
        for number, before in enumerate(graph):
            assert all(log.index(("end", each)) < log.index(("start", number)) for each in before)


@settings(max_examples=60, deadline=None)
@given(graph=graphs(), data=st.data())
@pytest.mark.filterwarnings("ignore::mlpipe.workflow.PlanWarning")
def test_when_one_fails_all_that_does_not_need_it_is_done_and_nothing_else(graph: Graph, data: Any):
    broken = data.draw(st.integers(0, len(graph) - 1))
    log: list[tuple[str, int]] = []
    outcome = execute_task_plan(get_task_plan(tasks_of(graph, log, broken)), Pipeline(), on_failure="finish")
    lost = behind(graph, broken)
    assert set(outcome.failed) == {f"T{broken}"}
    assert set(outcome.never_ran) == {f"T{number}" for number in lost}
    expected = {key: value for key, value in serially(graph).items() if int(key[1:]) not in lost | {broken}}
    assert {key: outcome.pipeline[key] for key in outcome.pipeline} == expected
    log.clear()
    with pytest.raises(ZeroDivisionError):
        execute_task_plan(get_task_plan(tasks_of(graph, log, broken)), Pipeline())
    started = [number for what, number in log if what == "start"]
    assert len(started) == len(set(started))
    assert not lost & set(started)
    assert threading.current_thread() is threading.main_thread()
