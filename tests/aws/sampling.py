"""The hyperparameters of trials, drawn from the ranges of a tuning job, as text."""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Iterator, Mapping
from typing import Any

from aws.rules import ranges

WIDE = 1_000.0
"""From this ratio of its ends on, a range with the scaling type Auto is drawn on a logarithmic scale."""


def draws(config: Mapping[str, Any]) -> Iterator[dict[str, str]]:
    """The values of one trial after the other: all combinations for Grid, and else drawn by RandomSeed.

    Bayesian and Hyperband draw like Random: what is drawn does not depend on results, and so not on time either.
    """
    searched = ranges(config)
    if config["Strategy"] == "Grid":
        names = [entry["Name"] for _, entry in searched]
        for values in itertools.product(*(entry["Values"] for _, entry in searched)):
            yield dict(zip(names, values, strict=True))
        return
    generator = random.Random(config.get("RandomSeed", 0))
    while True:
        yield {entry["Name"]: _draw(kind, entry, generator) for kind, entry in searched}


def _draw(kind: str, entry: Mapping[str, Any], generator: random.Random) -> str:
    if kind == "categorical":
        return str(generator.choice(entry["Values"]))
    low, high = float(entry["MinValue"]), float(entry["MaxValue"])
    value = _scaled(low, high, _scale(entry, low, high), generator)
    return str(round(value)) if kind == "integer" else repr(value)


def _scale(entry: Mapping[str, Any], low: float, high: float) -> str:
    scale = str(entry.get("ScalingType", "Auto"))
    if scale == "Auto":
        return "Logarithmic" if low > 0 and high / low >= WIDE else "Linear"
    return scale


def _scaled(low: float, high: float, scale: str, generator: random.Random) -> float:
    if scale == "Logarithmic":
        value = math.exp(generator.uniform(math.log(low), math.log(high)))
    elif scale == "ReverseLogarithmic":
        value = 1 - math.exp(generator.uniform(math.log1p(-high), math.log1p(-low)))
    else:
        value = generator.uniform(low, high)
    return min(max(value, low), high)
