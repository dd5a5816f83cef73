"""The space of a tuning, as it is written in settings.ini.

1e-5 -> 1e-3 log         an interval; integers where both ends are integers
0.9 -> 0.999 reverse log an interval that is searched by the logarithm of the distance to 1
16, 32                   categories
0.1                      a constant, which is no tunable
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from mlpipe.specs import Scalar

_INTEGER = re.compile(r"[+-]?[0-9]+\Z")
_DECIMAL = re.compile(r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?\Z")
_INTERVAL = re.compile(r"(?P<low>.*?)->(?P<high>.*?)(?P<scale>\s(reverse\s+)?log)?\s*\Z", re.DOTALL | re.IGNORECASE)

MAX_CATEGORIES = 30
"""What SageMaker takes for one hyperparameter; the same settings have to run there."""

Scale = Literal["linear", "log", "reverse log"]


@dataclass(frozen=True)
class Interval:
    """All numbers from `low` to `high`, both included; only the integers among them where both ends are ints."""

    low: int | float
    high: int | float
    scale: Scale = "linear"

    @property
    def is_integer(self) -> bool:
        """Whether only integers are drawn."""
        return isinstance(self.low, int) and isinstance(self.high, int)

    @property
    def first(self) -> Scalar:
        """Its lower end: what stands for it where a single value is asked for."""
        return self.low

    @property
    def texts(self) -> tuple[str, ...]:
        """Its ends as they may be written: each has to be a value that the hyperparameter may have."""
        return str(self.low), str(self.high)


@dataclass(frozen=True)
class Categories:
    """Two or more values of one type, in the order in which they were written."""

    values: tuple[Scalar, ...]

    @property
    def first(self) -> Scalar:
        """The first value: what stands for them where a single one is asked for."""
        return self.values[0]

    @property
    def texts(self) -> tuple[str, ...]:
        """The values as they may be written."""
        return tuple(str(value) for value in self.values)


Tunable = Interval | Categories
Space = Mapping[str, Tunable]
"""The tunables of one model by the names of their hyperparameters."""


def is_tunable(text: str) -> bool:
    """True for what is written as an interval or as categories."""
    return "->" in text or "," in text


def parse_tunable(text: str) -> Tunable:
    """Read an interval or categories; ValueError with the reason, and the fix, where it is neither."""
    return _interval(text) if "->" in text else _categories(text)


def parse_space(texts: Mapping[str, str]) -> Space:
    """Read every tunable of a model."""
    return {name: parse_tunable(text) for name, text in texts.items()}


def _interval(text: str) -> Interval:
    match = _INTERVAL.match(text)
    low, high = (_number(match[end].strip()) for end in ("low", "high")) if match else (None, None)
    if match is None or low is None or high is None:
        raise ValueError("expected two numbers, as in 1e-5 -> 1e-3, and log or reverse log after them where that helps")
    scale: Scale = "linear"
    if written := (match["scale"] or "").lower().split():
        scale = "log" if written == ["log"] else "reverse log"
    if low >= high:
        raise ValueError(f"the interval is empty or reversed: write {match['high'].strip()} -> {match['low'].strip()}")
    if scale == "log" and low <= 0:
        raise ValueError("a logarithmic interval has to begin above 0: write a small number instead, or leave log out")
    if scale == "reverse log" and not 0 <= low < high < 1:
        raise ValueError("an interval with reverse log has to lie within 0 <= x < 1")
    if scale == "reverse log" or not (isinstance(low, int) and isinstance(high, int)):
        low, high = float(low), float(high)
    return Interval(low, high, scale)


def _number(text: str) -> int | float | None:
    if _INTEGER.match(text):
        return int(text)
    if _DECIMAL.match(text) and math.isfinite(float(text)):
        return float(text)
    return None


def _categories(text: str) -> Categories:
    texts = [part.strip() for part in text.split(",")]
    if "" in texts:
        raise ValueError("an entry of the list is empty: write two or more values with one comma between two of them")
    if len(texts) < 2:
        raise ValueError("one value is no choice: write two or more, or the value alone")
    if len(set(texts)) < len(texts):
        raise ValueError("a value is given twice")
    if len(texts) > MAX_CATEGORIES:
        raise ValueError(f"expected at most {MAX_CATEGORIES} values")
    return Categories(_of_one_type(texts))


def _of_one_type(texts: list[str]) -> tuple[Scalar, ...]:
    """The values as ints, floats or bools where every one of them is such, else as text."""
    numbers = [_number(text) for text in texts]
    known = [number for number in numbers if number is not None]
    if len(known) == len(texts):
        are_integers = all(isinstance(number, int) for number in known)
        return tuple(known) if are_integers else tuple(float(number) for number in known)
    if all(text.lower() in ("true", "false") for text in texts):
        return tuple(text.lower() == "true" for text in texts)
    return tuple(texts)
