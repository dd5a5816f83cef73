"""The processes that train one model together, and what they tell each other."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from accelerate import Accelerator
from accelerate.utils import broadcast_object_list, gather_object
from numpy.typing import NDArray

T = TypeVar("T")

_parted: list[Any] = []
"""Groups that were destroyed, kept until the process ends. The last reference to one waits for its threads while it
holds Python's lock, and a thread that has just ended the last meeting waits for that lock: neither would go on."""


@dataclass(frozen=True)
class Ranks:
    """This process among the `count` processes of a training; one, unless USE_DISTRIBUTED.

    Every method but `share` is a meeting: all processes have to call it, in the same order.
    """

    accelerator: Accelerator

    @property
    def count(self) -> int:
        """How many processes there are."""
        return int(self.accelerator.num_processes)

    @property
    def index(self) -> int:
        """The number of this process, from 0."""
        return int(self.accelerator.process_index)

    @property
    def is_main(self) -> bool:
        """Whether this is the process that writes files."""
        return self.index == 0

    def share(self, items: NDArray[Any] | list[Any]) -> Any:
        """This process's part of a list or array: every item is in exactly one part, and parts differ by one at most.

        Items in order of length are dealt out in turn, so that every part has as much to do.
        """
        return items[self.index :: self.count]

    def total(self, *values: float) -> tuple[float, ...]:
        """The sum over all processes of each value."""
        if self.count == 1:
            return values
        sums = torch.tensor(values, dtype=torch.float64, device=self.accelerator.device)
        return tuple(self.accelerator.reduce(sums, "sum").tolist())

    def merged(self, tensor: torch.Tensor) -> torch.Tensor:
        """One CPU tensor from those of all processes, each of which holds its own entries, and zeros elsewhere."""
        if self.count == 1:
            return tensor
        merged: torch.Tensor = self.accelerator.reduce(tensor.to(self.accelerator.device), "sum")
        return merged.cpu()

    def from_main(self, value: T) -> T:
        """The main process's value; it travels as a pickle, between processes of one training."""
        values = [value]
        if self.count > 1:
            broadcast_object_list(values)
        return values[0]

    def gathered(self, value: T) -> list[T]:
        """The values of all processes, in their order."""
        if self.count == 1:
            return [value]
        values: list[T] = gather_object([value])
        return values

    def share_buffers(self, module: torch.nn.Module) -> None:
        """Give every process the main process's buffers (running means, for example): each had other rows."""
        if self.count > 1:
            for buffer in module.buffers():
                torch.distributed.broadcast(buffer, 0)

    def wait(self) -> None:
        """Return when every process has come here."""
        self.accelerator.wait_for_everyone()

    def part(self) -> None:
        """End the communication between the processes: nobody has to meet anybody any more."""
        if self.count > 1:
            self.wait()
            _parted.append(torch.distributed.group.WORLD)
            torch.distributed.destroy_process_group()
