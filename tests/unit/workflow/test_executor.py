from __future__ import annotations

from collections.abc import Callable

import pytest

from mlpipe.errors import PlanError
from mlpipe.workflow import Key, Pipeline, Task, execute_task_plan, get_task_plan

PAGES: Key[list[str]] = Key("pages")


def task(
    action: Callable[[Pipeline], object], inputs: tuple[str, ...] = (), outputs: tuple[str, ...] = (PAGES,)
) -> Task:
    class Acting(Task):
        input_keys = inputs
        output_keys = outputs

        def execute(self, pipeline: Pipeline) -> Pipeline:
            returned = action(pipeline)
            return pipeline if returned is None else returned

    return Acting()


def execute(one: Task, values: dict[str, object] | None = None) -> Pipeline:
    return execute_task_plan(get_task_plan([one]), Pipeline(values))


def test_a_key_and_a_string_and_an_attribute_address_the_same_value():
    pipeline = Pipeline({PAGES: ["a"]})
    pipeline.count = 1
    assert pipeline["pages"] is pipeline[PAGES] is pipeline.pages
    assert pipeline["count"] == 1


def test_values_are_shared_and_not_copied():
    pages = ["a"]
    seen = execute(
        task(lambda p: p[PAGES].append("b") or p.__setitem__("out", p[PAGES]), (PAGES,), ("out",)), {PAGES: pages}
    )
    assert seen["out"] is pages
    assert pages == ["a", "b"]


@pytest.mark.faults  # row 31
def test_reading_an_undeclared_key_names_task_and_key():
    with pytest.raises(PlanError, match="Acting reads 'secret', which is not among its input_keys"):
        execute(task(lambda p: p["secret"]), {"secret": 1})


@pytest.mark.faults  # row 31
def test_writing_an_undeclared_key_names_task_and_key():
    with pytest.raises(PlanError, match="Acting writes 'other', which is not among its output_keys"):
        execute(task(lambda p: p.__setitem__("other", 1)))


def test_a_declared_output_that_was_not_written_is_named():
    with pytest.raises(PlanError, match="Acting did not write 'pages'"):
        execute(task(lambda p: None))


def test_returning_something_else_than_the_pipeline_is_an_error():
    with pytest.raises(PlanError, match="Acting.execute returned 'done'"):
        execute(task(lambda p: p.__setitem__(PAGES, []) or "done"))


def test_an_exception_reaches_the_caller_with_the_task_in_a_note():
    def fail(pipeline: Pipeline) -> None:
        raise ValueError("no pages")

    with pytest.raises(ValueError, match="no pages") as caught:
        execute(task(fail))
    assert caught.value.__notes__ == ["while Acting was running"]


def test_a_missing_value_says_what_the_pipeline_holds():
    with pytest.raises(PlanError, match="'nope' is not in the pipeline; it holds pages"):
        Pipeline({PAGES: []})["nope"]
