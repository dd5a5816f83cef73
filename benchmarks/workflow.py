"""What an engine costs per Task, beside other ways to run a graph of Tasks.

    .venv/bin/python benchmarks/workflow.py

Peers are measured if they are installed: `.venv/bin/pip install sf-hamilton "dask[array]" luigi`. All ways run the same
graphs in the same process and take turns; the best round counts, because other work on a machine only ever slows one
down. mlpipe checks every key that is read and written, and times every Task.

- 11 tasks: a root, three chains of three, a join; they do nothing
- 1,000 tasks: 20 layers of 50, each reading three outputs of the layer before; they do nothing
- mixed: the 11 tasks with sleeps, one of 150 ms at another depth in each chain, the rest 50 ms: 350 ms at best
"""

from __future__ import annotations

import random
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass

from workflow_session import peers

from mlpipe.workflow import Pipeline, Task, Trace, execute_task_plan, get_task_plan

ROUNDS, MIXED_ROUNDS, SLOW_ROUNDS = 20, 5, 1
IDEAL_MS = 350.0
TARGETS = "targets: at most 3 us a task, the mixed graph at most 1.02 times its ideal, the import at most 30 ms"


@dataclass(frozen=True)
class Node:
    """A task: its name, the names of those whose outputs it reads, and how long it sleeps."""

    name: str
    before: tuple[str, ...] = ()
    sleep_s: float = 0.0

    def work(self) -> None:
        """Do what the task does."""
        if self.sleep_s:
            time.sleep(self.sleep_s)


def eleven(short_s: float = 0.0, long_s: float = 0.0) -> list[Node]:
    """Return a root, three chains of three, and a join."""
    nodes = [Node("root", (), short_s)]
    for chain in range(3):
        before = "root"
        for depth in range(3):
            nodes.append(Node(f"c{chain}{depth}", (before,), long_s if depth == chain else short_s))
            before = nodes[-1].name
    return [*nodes, Node("join", ("c02", "c12", "c22"), short_s)]


def thousand() -> list[Node]:
    """Return 20 layers of 50 tasks, each behind three of the layer before."""
    generator = random.Random(1)
    layers = [[Node(f"l0_{number}") for number in range(50)]]
    for layer in range(1, 20):
        above = [node.name for node in layers[-1]]
        layers.append([Node(f"l{layer}_{number}", tuple(generator.sample(above, 3))) for number in range(50)])
    return [node for layer in layers for node in layer]


class NodeTask(Task):
    """A node as a Task of mlpipe."""

    def __init__(self, node: Node) -> None:
        self._work, self._output = node.work if node.sleep_s else None, node.name
        self.input_keys, self.output_keys = node.before, (node.name,)

    def execute(self, pipeline: Pipeline) -> Pipeline:
        """Work, and write the output."""
        if self._work:
            self._work()
        pipeline[self._output] = None
        return pipeline


def mlpipe_way(nodes: list[Node]) -> Callable[[], object]:
    """Run the nodes with mlpipe: the plan is made once, as a service does it."""
    plan = get_task_plan([NodeTask(node) for node in nodes])
    return lambda: execute_task_plan(plan, Pipeline(), trace=Trace())


def best_ms(run: Callable[[], object], rounds: int) -> float:
    """Return the shortest of `rounds` rounds, in milliseconds."""
    best = float("inf")
    for _ in range(rounds):
        started = time.perf_counter()
        run()
        best = min(best, time.perf_counter() - started)
    return 1e3 * best


def import_ms(module: str) -> float:
    """Return how much longer a Python lives that imports the module, the best of several, in milliseconds."""

    def start(code: str) -> float:
        return best_ms(lambda: subprocess.run([sys.executable, "-S", "-c", code], check=True), 10)

    path = f"import sys; sys.path[:0] = {sys.path[1:]!r}\n"
    return start(f"{path}import {module}") - start(path)


def main() -> None:
    """Print the table."""
    ways = {"mlpipe": (mlpipe_way, ROUNDS), **peers.WAYS}
    print(
        f"{'':34}{'11 tasks':>16}{'1,000 tasks':>18}{'mixed':>16}\n{'':34}{'us a task':>16}{'us a task':>18}{'ms':>16}"
    )
    for name, (make, rounds) in ways.items():
        try:
            small, large, mixed = make(eleven()), make(thousand()), make(eleven(0.05, 0.15))
        except ImportError as error:
            print(f"{name:34}not installed ({error.name}); see the head of this file")
            continue
        cells = (
            best_ms(small, rounds) / 11e-3,
            best_ms(large, min(rounds, 20)) / 1.0,
            best_ms(mixed, min(rounds, MIXED_ROUNDS)),
        )
        print(f"{name:34}{cells[0]:16.2f}{cells[1]:18.2f}{cells[2]:10.1f} ({cells[2] / IDEAL_MS:.3f})")
    print(f"import mlpipe.workflow: {import_ms('mlpipe.workflow'):.0f} ms\n{TARGETS}")


if __name__ == "__main__":
    main()
