"""A plan as a picture, in two languages that others draw."""

from __future__ import annotations

from mlpipe.workflow.planner import TaskPlan


def to_mermaid(plan: TaskPlan) -> str:
    """The plan as a Mermaid flowchart (https://mermaid.js.org/syntax/flowchart.html): tasks, and keys on the arrows."""
    lines = ["flowchart LR"]
    lines += [f'    t{number}["{_escaped(name)}"]' for number, name in enumerate(plan.names)]
    lines += [f'    t{before} -->|"{_escaped(", ".join(keys))}"| t{after}' for before, after, keys in plan.edges]
    return "\n".join(lines) + "\n"


def to_dot(plan: TaskPlan) -> str:
    """The plan as a Graphviz digraph (https://graphviz.org/doc/info/lang.html): tasks, and keys on the arrows."""
    lines = ["digraph plan {", "    rankdir=LR;"]
    lines += [f"    t{number} [label={_quoted(name)}, shape=box];" for number, name in enumerate(plan.names)]
    lines += [f"    t{before} -> t{after} [label={_quoted(', '.join(keys))}];" for before, after, keys in plan.edges]
    return "\n".join([*lines, "}"]) + "\n"


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace('"', "&quot;").replace("<", "&lt;").replace(">", "&gt;")


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
