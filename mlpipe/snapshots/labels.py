"""The order of the labels, which gives each its class index."""

from __future__ import annotations

import re
from collections.abc import Iterable

_WHOLE_NUMBER = re.compile(r"0|-?[1-9][0-9]*")


def ordered_labels(names: Iterable[str]) -> list[str]:
    """The distinct label names by class index: by value where all are whole numbers, else by their text."""
    distinct = set(names)
    if all(_WHOLE_NUMBER.fullmatch(name) for name in distinct):
        return sorted(distinct, key=int)
    return sorted(distinct)
