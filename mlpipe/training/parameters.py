"""Which parameters of a model are trained, and how fast each of them."""

from __future__ import annotations

import difflib
import logging
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase

import torch

from mlpipe.errors import SettingsError

logger = logging.getLogger(__name__)

_NUMBERED = re.compile(r"(?:(.+?)\.)?(\d+)\.")
"""The outermost numbered module in a parameter's name: the name of its list, and its number."""
_MAX_NEAR = 5


def freeze(module: torch.nn.Module, patterns: Iterable[str]) -> None:
    """Let the parameters whose names match a pattern (as of `fnmatch`, upper and lower case differ) stay as they are.

    Raises SettingsError, with the nearest names, for a pattern that matches none.
    """
    parameters = dict(module.named_parameters(remove_duplicate=False))
    for pattern in patterns:
        matching = [name for name in parameters if fnmatchcase(name, pattern)]
        if not matching:
            near = ", ".join(_near(pattern, parameters))
            raise SettingsError(
                f"[HYPERPARAMETERS] FREEZE: no parameter of the model has a name like {pattern}",
                hint=f"the nearest are {near}",
            )
        for name in matching:
            parameters[name].requires_grad_(False)


def _near(pattern: str, names: Iterable[str]) -> list[str]:
    """Names and patterns of whole modules that look like the pattern, the most similar first."""
    valid: dict[str, None] = {}
    for name in names:
        parts = name.split(".")
        valid |= dict.fromkeys(".".join([*parts[:depth], "*"]) for depth in range(1, len(parts)))
        valid[name] = None
    return difflib.get_close_matches(pattern, valid, n=_MAX_NEAR, cutoff=0.0)


@dataclass(frozen=True)
class Layers:
    """The numbered layers of a model, such as bert.encoder.layer.0 to 11, and what lies below and above them.

    `depths` gives each parameter its place: 0 for the embeddings, 1 to `count` for the layers from the lowest, and
    `count` + 1 for the head.
    """

    name: str
    count: int
    depths: Mapping[str, int]

    @classmethod
    def of(cls, module: torch.nn.Module, key: str) -> Layers:
        """The list of numbered modules with the most parameters is the layers.

        What the model registers before them counts as embeddings, what it registers after them as its head. Raises
        SettingsError, for the hyperparameter `key` that asks for them, where there is no list of two or more.
        """
        sizes: dict[str, int] = {}
        numbers: dict[str, set[int]] = {}
        for name, parameter in module.named_parameters():
            if match := _NUMBERED.match(name):
                sizes[match[1]] = sizes.get(match[1], 0) + parameter.numel()
                numbers.setdefault(match[1], set()).add(int(match[2]))
        lists = [name for name in sizes if len(numbers[name]) > 1]
        if not lists:
            parts = ", ".join(name for name, _ in module.named_children())
            raise SettingsError(
                f"[HYPERPARAMETERS] {key} needs a model with numbered layers, such as encoder.layer.0",
                hint=f"this model has {parts or 'no parts'}: leave {key} at its default",
            )
        largest = max(lists, key=lambda name: sizes[name])
        return cls(largest, len(numbers[largest]), _depths(module, largest, sorted(numbers[largest])))

    def factors(self, decay: float) -> dict[str, float]:
        """The factor on the learning rate of each parameter: decay^(count + 1 - depth).

        The layer-wise decay of Clark et al., ELECTRA (2020), https://arxiv.org/abs/2003.10555, with the exponents of
        Bao et al., BEiT (2021), https://arxiv.org/abs/2106.08254: 1 for the head, `decay` for the highest layer.
        """
        return {name: decay ** (self.count + 1 - depth) for name, depth in self.depths.items()}


def _depths(module: torch.nn.Module, layers: str, numbers: list[int]) -> dict[str, int]:
    depths: dict[str, int] = {}
    outside = 0
    for name, _ in module.named_parameters():
        match = _NUMBERED.match(name)
        if match and match[1] == layers:
            depths[name] = 1 + numbers.index(int(match[2]))
            outside = len(numbers) + 1
        else:
            depths[name] = outside
    return depths


def learning_rate_factors(module: torch.nn.Module, decay: float) -> dict[str, float]:
    """The factor on the learning rate of each named parameter; 1 for all where `decay` is 1. Raises as `Layers.of`."""
    if decay == 1:
        return {name: 1.0 for name, _ in module.named_parameters()}
    layers = Layers.of(module, "LAYER_LR_DECAY")
    factors = layers.factors(decay)
    logger.info(
        "learning rates: %d layers in %s, from %.3g of LEARNING_RATE for %s to 1 for %s",
        layers.count,
        layers.name,
        decay ** (layers.count + 1),
        _parts(layers, 0),
        _parts(layers, layers.count + 1),
    )
    return factors


def _parts(layers: Layers, depth: int) -> str:
    """The modules at a depth, or "nothing"."""
    names = [name for name, found in layers.depths.items() if found == depth]
    return ", ".join(dict.fromkeys(name.rpartition(".")[0] or name for name in names)) or "nothing"
