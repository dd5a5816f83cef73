"""A moving average of the weights, which often generalises better than the weights of any one step."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch.optim.swa_utils import get_ema_multi_avg_fn


class WeightAverage:
    """The exponential moving average of a module's parameters that are trained.

    After step t (from 1) it moves by 1 - min(decay, (1 + t) / (10 + t)) towards the weights, the warm-up of
    TensorFlow's `ExponentialMovingAverage(num_updates=...)`: a short training is not held at its first weights.
    """

    def __init__(self, module: torch.nn.Module, decay: float) -> None:
        self._decay = decay
        self._steps = 0
        self._weights = {name: parameter for name, parameter in module.named_parameters() if parameter.requires_grad}
        self._average = {name: parameter.detach().clone() for name, parameter in self._weights.items()}

    @torch.no_grad()
    def update(self) -> None:
        """Take in the weights as they are now, after an optimiser step."""
        self._steps += 1
        decay = min(self._decay, (1 + self._steps) / (10 + self._steps))
        average: Any = get_ema_multi_avg_fn(decay)  # type: ignore[no-untyped-call]
        average(list(self._average.values()), list(self._weights.values()), None)

    @contextlib.contextmanager
    def applied(self) -> Iterator[None]:
        """Within it, the module has the average for its weights; after it, its own again, bit for bit."""
        own = {name: weight.detach().clone() for name, weight in self._weights.items()}
        _copy(self._average, self._weights)
        try:
            yield
        finally:
            _copy(own, self._weights)

    def state_dict(self) -> dict[str, Any]:
        """The number of steps and the averages, for a checkpoint; they share memory with this object."""
        return {"steps": self._steps, "average": dict(self._average)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state_dict` gave. Raises KeyError where it is that of another module."""
        self._steps = int(state["steps"])
        _copy({name: state["average"][name] for name in self._average}, self._average)


@torch.no_grad()
def _copy(source: Mapping[str, torch.Tensor], target: Mapping[str, torch.Tensor]) -> None:
    for name, tensor in target.items():
        tensor.copy_(source[name])
