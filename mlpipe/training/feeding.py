"""The inputs of a training on their way to the device: for a GPU, made ready while it is at work on earlier ones."""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from mlpipe.batching import EncodedRows

AHEAD = 2
"""Micro-batches that are made ready while one is computed on."""

T = TypeVar("T")
U = TypeVar("U")


@dataclass
class Feed:
    """Hands out the inputs and the labels of micro-batches, on the device."""

    rows: EncodedRows
    padding: Mapping[str, int | float]
    device: torch.device
    is_ahead: bool
    """Whether `ahead` has a thread of its own; what is handed out, and in which order, is the same without it."""
    _ready: Iterator[tuple[dict[str, torch.Tensor], torch.Tensor]] | None = None

    @classmethod
    def of(cls, rows: EncodedRows, padding: Mapping[str, int | float], device: torch.device) -> Feed:
        """A feed that works ahead for a GPU. On a CPU there is nobody to do it but the cores that compute."""
        return cls(rows, padding, device, is_ahead=device.type == "cuda")

    @contextlib.contextmanager
    def ahead(self, micro_batches: Iterable[NDArray[np.int64]]) -> Iterator[None]:
        """Within it, `take` has to be called for these row numbers, in this order; it may end before the last."""
        if not self.is_ahead:
            yield
            return
        with prefetched(micro_batches, self._make) as self._ready:
            try:
                yield
            finally:
                self._ready = None

    def take(self, rows: NDArray[np.int64]) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
        """The collated inputs of these rows by name, and their class indices; of no rows, those of the first one."""
        return next(self._ready) if self._ready else self._make(rows)

    def _make(self, rows: NDArray[np.int64]) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
        rows = rows if len(rows) else np.zeros(1, np.int64)
        inputs = self.rows.collate(rows, self.padding)
        labels = torch.from_numpy(self.rows.labels[rows])
        if self.device.type != "cuda":
            return {key: value.to(self.device) for key, value in inputs.items()}, labels.to(self.device)
        # A new thread's own device is the first one, and pinning would open a context there.
        with torch.cuda.device(self.device):
            return {key: self._sent(value) for key, value in inputs.items()}, self._sent(labels)

    def _sent(self, value: torch.Tensor) -> torch.Tensor:
        """From pinned memory a copy waits for nobody: the stream that computes has it in the order of its work."""
        return value.pin_memory().to(self.device, non_blocking=True)


@contextlib.contextmanager
def prefetched(items: Iterable[T], make: Callable[[T], U], ahead: int = AHEAD) -> Iterator[Iterator[U]]:
    """`make(item)` of every item, in order, from a thread that is at most `ahead` items ahead of who asks.

    What `make` raises is raised where its item is asked for. The thread has ended when the context has.
    """
    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="prefetched") as executor:
        yield _results(executor, iter(items), make, ahead)


def _results(executor: ThreadPoolExecutor, items: Iterator[T], make: Callable[[T], U], ahead: int) -> Iterator[U]:
    waiting = deque(executor.submit(make, item) for item in islice(items, 1 + ahead))
    while waiting:
        result = waiting.popleft().result()
        waiting.extend(executor.submit(make, item) for item in islice(items, 1))
        yield result
