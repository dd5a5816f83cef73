"""Other ways to run a graph of tasks, each made once for a graph and then run; a peer is imported where it is used."""

from __future__ import annotations

import graphlib
import threading
import uuid
import warnings
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import Any, Protocol

Run = Callable[[], object]


class Node(Protocol):
    """A task of the graph."""

    name: str
    before: tuple[str, ...]

    def work(self) -> None:
        """Do what the task does."""


def serial(nodes: Sequence[Node]) -> Run:
    """Call one task after the other: what an engine is compared with at all."""

    def run() -> None:
        for node in nodes:
            node.work()

    return run


def graphlib_pool(nodes: Sequence[Node]) -> Run:
    """Run the standard library's sorter with a pool of threads that is kept."""
    pool, by_name = ThreadPoolExecutor(8), {node.name: node for node in nodes}
    graph = {node.name: node.before for node in nodes}

    def run() -> None:
        sorter = graphlib.TopologicalSorter(graph)
        sorter.prepare()
        running: dict[Future[None], str] = {}
        while sorter.is_active():
            running |= {pool.submit(by_name[name].work): name for name in sorter.get_ready()}
            done, _ = wait(running, return_when=FIRST_COMPLETED)
            sorter.done(*(running.pop(future) for future in done))

    return run


def staged_threads(nodes: Sequence[Node]) -> Run:
    """Run stage after stage, with a new thread for every task of a stage."""
    sorter, stages = graphlib.TopologicalSorter({node.name: node.before for node in nodes}), []
    by_name = {node.name: node for node in nodes}
    sorter.prepare()
    while sorter.is_active():
        ready = sorter.get_ready()
        stages.append([by_name[name] for name in ready])
        sorter.done(*ready)

    def run() -> None:
        for stage in stages:
            threads = [threading.Thread(target=node.work) for node in stage]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()

    return run


def dask_threads(nodes: Sequence[Node]) -> Run:
    """Run dask's threaded scheduler."""
    from dask.threaded import get

    def call(work: Callable[[], None]) -> Callable[..., None]:
        return lambda *_: work()

    graph = {node.name: (call(node.work), *node.before) for node in nodes}
    return lambda: get(graph, nodes[-1].name if len(nodes) < 100 else [node.name for node in nodes[-50:]])


def hamilton(nodes: Sequence[Node]) -> Run:
    """Run Hamilton's driver, which runs one task after the other."""
    from hamilton import ad_hoc_utils, driver

    def function(node: Node) -> Any:
        names = [f"n_{name}" for name in node.before]
        code = f"def n_{node.name}({', '.join(f'{name}: int' for name in names)}) -> int:\n    work()\n    return 0\n"
        space: dict[str, Any] = {"work": node.work}
        exec(code, space)  # a function with these parameters is how a node is declared there
        return space[f"n_{node.name}"]

    module = ad_hoc_utils.create_temporary_module(*map(function, nodes), module_name=f"graph_{uuid.uuid4().hex}")
    built = driver.Builder().with_modules(module).build()
    final = [f"n_{node.name}" for node in (nodes[-1:] if len(nodes) < 100 else nodes[-50:])]
    return lambda: built.execute(final)


def luigi(nodes: Sequence[Node]) -> Run:
    """Run Luigi's local scheduler."""
    import luigi as library

    by_name = {node.name: node for node in nodes}

    class NodeTask(library.Task):  # type: ignore[misc]
        node = library.Parameter()
        run_id = library.Parameter()
        done: set[tuple[str, str]] = set()  # noqa: RUF012 (Luigi asks tasks of the same parameters)

        def requires(self) -> list[NodeTask]:
            return [NodeTask(node=name, run_id=self.run_id) for name in by_name[self.node].before]

        def complete(self) -> bool:
            return (self.run_id, self.node) in self.done

        def run(self) -> None:
            by_name[self.node].work()
            self.done.add((self.run_id, self.node))

    def run() -> None:
        run_id = uuid.uuid4().hex
        final = nodes[-1:] if len(nodes) < 100 else nodes[-50:]
        with warnings.catch_warnings(action="ignore"):
            library.build(
                [NodeTask(node=node.name, run_id=run_id) for node in final], local_scheduler=True, log_level="CRITICAL"
            )

    return run


WAYS: dict[str, tuple[Callable[..., Run], int]] = {
    "a serial loop (no parallelism)": (serial, 20),
    "graphlib, a thread pool": (graphlib_pool, 20),
    "stages, one thread per task": (staged_threads, 10),
    "Hamilton (no parallelism)": (hamilton, 10),
    "dask, threads": (dask_threads, 10),
    "Luigi, local": (luigi, 1),
}
"""By name: how a way is made for a graph, and how many rounds it is given."""
