"""Plans as text that others draw."""

from __future__ import annotations

from mlpipe.workflow import Pipeline, Task, get_task_plan, to_dot, to_mermaid


class Read(Task):
    input_keys = ("pdf",)
    output_keys = ("pages", 'the "title"')

    def execute(self, pipeline: Pipeline) -> Pipeline:
        return pipeline


class Classify(Task):
    input_keys = ("pages", 'the "title"')
    output_keys = ("kind",)

    def execute(self, pipeline: Pipeline) -> Pipeline:
        return pipeline


PLAN = get_task_plan([Classify(), Read()])


def test_a_plan_prints_its_stages():
    assert str(PLAN) == "1. Read\n2. Classify"


def test_a_plan_is_a_mermaid_flowchart():
    assert to_mermaid(PLAN) == (
        'flowchart LR\n    t0["Read"]\n    t1["Classify"]\n    t0 -->|"pages, the &quot;title&quot;"| t1\n'
    )


def test_a_plan_is_a_graphviz_digraph():
    assert to_dot(PLAN) == (
        "digraph plan {\n    rankdir=LR;\n"
        '    t0 [label="Read", shape=box];\n    t1 [label="Classify", shape=box];\n'
        '    t0 -> t1 [label="pages, the \\"title\\""];\n}\n'
    )
