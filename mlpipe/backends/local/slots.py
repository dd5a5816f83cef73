"""The slots of a machine: how many jobs run side by side on it, and which GPUs each of them sees."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from pathlib import Path

VISIBLE_GPUS = "CUDA_VISIBLE_DEVICES"

_NVIDIA_GPUS = Path("/proc/driver/nvidia/gpus")
"""One entry per GPU, where NVIDIA's driver is loaded: known without the import of a library that talks to it."""


def machine_gpus(environment: Mapping[str, str]) -> tuple[str, ...]:
    """The GPUs that this process may use: those that CUDA_VISIBLE_DEVICES names, or all of the machine."""
    if VISIBLE_GPUS in environment:
        return tuple(name.strip() for name in environment[VISIBLE_GPUS].split(",") if name.strip())
    if not _NVIDIA_GPUS.is_dir():
        return ()
    return tuple(str(number) for number in range(len(list(_NVIDIA_GPUS.iterdir()))))


class Slots:
    """`count` slots that share `gpus`; each is held by one job at a time."""

    def __init__(self, count: int, gpus: Sequence[str] = ()) -> None:
        self._gpus = tuple(gpus)
        self.count = count
        self._free = list(range(count))
        self._lock = threading.Lock()

    def take(self) -> int | None:
        """The lowest slot that is free, which is not free any more; None where there is none."""
        with self._lock:
            return self._free.pop(0) if self._free else None

    def give_back(self, slot: int) -> None:
        """The job of this slot has ended."""
        with self._lock:
            self._free = sorted([*self._free, slot])

    def variables(self, slot: int) -> dict[str, str]:
        """The variable that shows a job its GPUs; slots share them where there are fewer GPUs than slots."""
        if not self._gpus or self.count == 1:
            return {}
        own = self._gpus[slot :: self.count] or (self._gpus[slot % len(self._gpus)],)
        return {VISIBLE_GPUS: ",".join(own)}
