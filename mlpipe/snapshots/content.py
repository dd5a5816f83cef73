"""What a row says: its values as plain Python data, and the digest that tells whether two rows say the same."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from typing import Any

import numpy as np

DIGEST_SIZE = 16

_EXACT_FLOAT = 2**53
_PLAIN = (str, int, bool, bytes, type(None))


def plain(value: Any) -> Any:
    """`value` with numpy scalars and arrays, tuples and subclasses of str turned into plain Python data.

    Types that are not known here come back as they are; Arrow decides about them. Raises ValueError for a NaN, at any
    depth: a missing value is None.
    """
    if type(value) in _PLAIN:
        return value
    if isinstance(value, np.generic | np.ndarray):
        return plain(value.tolist())
    if isinstance(value, float):
        if math.isnan(value):
            raise ValueError("is NaN")
        return value
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, int):
        return int(value)
    if isinstance(value, bytearray | memoryview):
        return bytes(value)
    if isinstance(value, Mapping):
        return {key: plain(inner) for key, inner in value.items()}
    return [plain(inner) for inner in value] if isinstance(value, list | tuple) else value


def kind_of(value: Any) -> str:
    """The name of a plain value's type; integers that no float64 holds exactly are a kind of their own."""
    if type(value) is int and abs(value) > _EXACT_FLOAT:
        return "int beyond 2**53"
    return type(value).__name__


def content_digest(columns: Mapping[str, Any]) -> bytes:
    """The first 16 bytes of the sha256 of a row's plain columns; the order of the columns makes no difference.

    A column that is None counts as absent, and 1.0 equals 1, as both do once they share an Arrow column.
    """
    content = {name: _canonical(value) for name, value in columns.items() if value is not None}
    text = json.dumps(content, sort_keys=True, default=_tagged, separators=(",", ":"))
    return hashlib.sha256(text.encode()).digest()[:DIGEST_SIZE]


def _canonical(value: Any) -> Any:
    if isinstance(value, float):
        return int(value) if value.is_integer() else value
    if isinstance(value, list):
        return [_canonical(inner) for inner in value]
    if isinstance(value, dict):
        return {str(key): _canonical(inner) for key, inner in value.items()}
    return value


def _tagged(value: Any) -> list[str]:
    """What JSON has no form for. A column holds one type, so that no list of two strings can be mistaken for this."""
    return [type(value).__name__, value.hex() if isinstance(value, bytes) else repr(value)]
