from __future__ import annotations

from collections.abc import Sequence

import pytest

from mlpipe.errors import PlanError
from mlpipe.workflow import Pipeline, PlanWarning, Task, execute_task_plan, get_task_plan


class Step(Task):
    """Writes each output as the sum of its inputs plus one."""

    def __init__(self, name: str, inputs: Sequence[str], outputs: Sequence[str]) -> None:
        self._name = name
        self.input_keys = inputs
        self.output_keys = outputs

    @property
    def name(self) -> str:
        return self._name

    def execute(self, pipeline: Pipeline) -> Pipeline:
        total = sum(pipeline[key] for key in self.input_keys) + 1
        for key in self.output_keys:
            pipeline[key] = total
        return pipeline


def names(stages: object) -> list[list[str]]:
    return [[task.name for task in stage] for stage in stages]


def test_iterating_a_plan_gives_the_stages_in_the_order_of_the_tasks():
    plan = get_task_plan(
        [
            Step("join", ["b", "c"], ["d"]),
            Step("right", ["a"], ["c"]),
            Step("left", ["a"], ["b"]),
            Step("root", [], ["a"]),
        ]
    )
    assert names(plan) == [["root"], ["right", "left"], ["join"]]


def test_values_flow_along_the_declared_keys():
    plan = get_task_plan([Step("join", ["b", "c"], ["d"]), Step("b", ["a"], ["b"]), Step("c", ["a"], ["c"])])
    assert execute_task_plan(plan, Pipeline({"a": 1}))["d"] == 5


def test_two_producers_of_one_key_are_both_named():
    with pytest.raises(PlanError, match="first and second both write 'a'"):
        get_task_plan([Step("first", [], ["a"]), Step("second", [], ["a"])])


@pytest.mark.faults  # row 31
def test_a_cycle_is_named_by_its_path():
    with pytest.raises(PlanError, match=r"wait for each other: (one -> two -> one|two -> one -> two)"):
        get_task_plan([Step("one", ["b"], ["a"]), Step("two", ["a"], ["b"])])


def test_a_missing_producer_is_named_with_its_reader_and_the_nearest_key():
    plan = get_task_plan([Step("maker", [], ["pages"]), Step("reader", ["page"], ["words"])])
    with pytest.raises(PlanError, match=r"reader reads 'page', which no task writes\n.*did you mean 'pages'"):
        execute_task_plan(plan, Pipeline())


def test_an_empty_plan_is_refused():
    with pytest.raises(PlanError, match="at least one task"):
        get_task_plan([])


def test_a_task_without_declared_keys_is_refused():
    class Undeclared(Task):
        def execute(self, pipeline: Pipeline) -> Pipeline:
            return pipeline

    with pytest.raises(PlanError, match="Undeclared must declare input_keys"):
        get_task_plan([Undeclared()])


@pytest.mark.parametrize("keys", [5, ["a", 1], property(lambda task: ["a"])])
def test_keys_that_are_no_list_of_strings_are_refused(keys: object):
    class Odd(Task):
        input_keys = ()
        output_keys = keys

        def execute(self, pipeline: Pipeline) -> Pipeline:
            return pipeline

    with pytest.raises(PlanError, match="Odd must declare output_keys as a list of keys"):
        get_task_plan([Odd()])


def test_a_string_in_place_of_a_list_of_keys_is_refused():
    with pytest.raises(PlanError, match="must declare output_keys as a list of keys; it has 'abc'"):
        get_task_plan([Step("x", [], "abc")])


def test_an_output_that_nobody_reads_beside_one_that_is_read_is_warned_of():
    with pytest.warns(PlanWarning, match="A writes 'spare', which nobody reads"):
        get_task_plan([Step("A", [], ["used", "spare"]), Step("B", ["used"], ["end"])])


def test_what_is_not_wanted_and_not_read_is_warned_of():
    with pytest.warns(PlanWarning, match="B writes 'end', which nobody reads"):
        get_task_plan([Step("A", [], ["a"]), Step("B", ["a"], ["end"])], wanted=["a"])
    assert len(get_task_plan([Step("A", [], ["a"]), Step("B", ["a"], ["end"])], wanted=["end"]).tasks) == 2


def test_one_task_that_stands_in_a_plan_twice_is_refused():
    one = Step("A", [], ["a"])
    with pytest.raises(PlanError, match="A stands in the plan twice"):
        get_task_plan([one, one])


@pytest.mark.parametrize(("name", "value"), [("isolate", "room"), ("timeout_s", 0), ("timeout_s", -1.0)])
def test_limits_that_cannot_be_kept_are_refused(name: str, value: object):
    one = Step("A", [], ["a"])
    setattr(one, name, value)
    with pytest.raises(PlanError, match=f"A has {name} = {value!r}; expected"):
        get_task_plan([one])
