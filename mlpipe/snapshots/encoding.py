"""The encoded inputs of one model: what encode() returns, checked batch by batch and turned into Arrow columns.

Integers become int64, floats float32 and booleans stay bool (a mask that torch takes as it is); where one batch mixes
them, the wider kind holds. An axis becomes a level of Arrow lists.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from mlpipe.errors import DataError
from mlpipe.specs import EncodedInput

_DTYPES = ("bool", "int64", "float32")
"""By width: the kind of a batch is the widest of its rows."""

_RANK = {"b": 0, "i": 1, "u": 1, "f": 2}

_LARGEST_INT = np.iinfo(np.int64).max

_PLAIN_NUMBERS = "every input is one number, or one list (of lists) of numbers, per row"


@dataclass
class _Input:
    """What is known of one input so far; every batch must agree on all of it but the lengths."""

    dtype: str
    axes: int
    trailing_shape: tuple[int, ...]
    lengths: list[NDArray[np.int64]] = field(default_factory=list)

    def all_lengths(self) -> NDArray[np.int64]:
        return np.concatenate(self.lengths)

    def is_ragged(self) -> bool:
        lengths = self.all_lengths()
        return self.axes > 0 and int(lengths.min()) != int(lengths.max())

    def described(self) -> EncodedInput:
        if self.axes == 0:
            return EncodedInput(self.dtype, False, (), None, None)
        lengths = self.all_lengths()
        shortest, longest = int(lengths.min()), int(lengths.max())
        if shortest == longest:
            return EncodedInput(self.dtype, False, (longest, *self.trailing_shape), None, None)
        return EncodedInput(self.dtype, True, self.trailing_shape, shortest, longest)


class ModelInputs:
    """Collects the encoded inputs of one model over all batches of a snapshot."""

    def __init__(self, model_name: str) -> None:
        self.model_name = model_name
        self._inputs: dict[str, _Input] = {}

    def add(self, encoded: Mapping[str, Any], ids: Sequence[str]) -> dict[str, pa.Array]:
        """Check one batch that encode() returned for the rows `ids`; returns one Arrow array per input.

        Values may be lists, numpy arrays or tensors in main memory. Raises DataError, naming input and row, for a
        missing or surplus input, a wrong number of rows, an empty sequence, and whatever is no finite number.
        """
        self._check_keys(encoded)
        return {key: self._add_input(key, value, ids) for key, value in encoded.items()}

    def described(self) -> dict[str, EncodedInput]:
        """The inputs as encoding.json describes them; ragged is what differed in length between any two rows."""
        return {key: given.described() for key, given in self._inputs.items()}

    def longest(self) -> NDArray[np.int64] | None:
        """Per row, in the order in which rows were added, the length of its longest ragged input; None without any."""
        ragged = [given.all_lengths() for given in self._inputs.values() if given.is_ragged()]
        return np.maximum.reduce(ragged) if ragged else None

    def _check_keys(self, encoded: Mapping[str, Any]) -> None:
        names = [name for name in encoded if not isinstance(name, str) or not name]
        if names or not encoded:
            problem = f"names an input {names[0]!r}" if names else "returned no inputs"
            raise self._error(problem, "return a mapping of input names, such as input_ids, to one value per row")
        if self._inputs and set(encoded) != set(self._inputs):
            raise self._error(
                f"returned the inputs {', '.join(encoded)}, but {', '.join(self._inputs)} for the batches before",
                "return the same inputs for every batch",
            )

    def _add_input(self, key: str, value: Any, ids: Sequence[str]) -> pa.Array:
        rows = zip(self._rows(key, value, ids), ids, strict=True)
        arrays = [self._row_array(key, row, row_id) for row, row_id in rows]
        lengths = np.array([len(array) if array.ndim else 1 for array in arrays], dtype=np.int64)
        dtype = _DTYPES[max(_RANK[array.dtype.kind] for array in arrays)]
        known = self._inputs.setdefault(key, _Input(dtype, arrays[0].ndim, arrays[0].shape[1:]))
        if dtype != known.dtype:
            hint = "convert them, so that every batch has the same type"
            raise self._error(f"returned {dtype} for {key!r}, but {known.dtype} for the batches before", hint)
        for array, row_id in zip(arrays, ids, strict=True):
            self._check_shape(key, array, row_id, known)
        known.lengths.append(lengths)
        return _arrow_array(self._flat(key, arrays, ids, dtype), lengths, known)

    def _rows(self, key: str, value: Any, ids: Sequence[str]) -> Sequence[Any]:
        try:
            size = len(value)
        except TypeError:
            hint = f"{_PLAIN_NUMBERS}; a batch is a list, an array or a tensor of them"
            raise self._error(f"returned a {type(value).__name__} for {key!r}", hint) from None
        if size != len(ids) or isinstance(value, str | bytes | Mapping):
            what = f"{size} values" if size != len(ids) else f"a {type(value).__name__}"
            raise self._error(f"returned {what} for {key!r}, but was given {len(ids)} rows", "return one value per row")
        rows: Sequence[Any] = value
        return rows

    def _row_array(self, key: str, row: Any, row_id: str) -> NDArray[Any]:
        try:
            array = np.asarray(row)
        except (ValueError, TypeError, RuntimeError) as error:
            raise self._error(f"returned no array for {key!r} of row {row_id!r}: {error}", _PLAIN_NUMBERS) from error
        if array.size == 0:
            raise self._error(
                f"returned nothing for {key!r} of row {row_id!r}: its shape is {array.shape}",
                "drop such rows in reconcile(), or encode them as one padding or unknown token",
            )
        if array.dtype.kind not in _RANK:
            raise self._error(f"returned {_shown(row)} for {key!r} of row {row_id!r}", _PLAIN_NUMBERS)
        if array.dtype.kind == "u" and int(array.max()) > _LARGEST_INT:
            raise self._error(f"returned {array.max()} for {key!r} of row {row_id!r}", "integers must fit int64")
        return array

    def _check_shape(self, key: str, array: NDArray[Any], row_id: str, known: _Input) -> None:
        if array.ndim != known.axes or array.shape[1:] != known.trailing_shape:
            expected = ("any length", *known.trailing_shape) if known.axes else ()
            raise self._error(
                f"returned shape {array.shape} for {key!r} of row {row_id!r}; the rows before it have "
                f"({', '.join(map(str, expected))})",
                "only the first axis of an input may vary from row to row",
            )

    def _flat(self, key: str, arrays: Sequence[NDArray[Any]], ids: Sequence[str], dtype: str) -> NDArray[Any]:
        """All elements end to end, in the type in which they are stored."""
        with np.errstate(over="ignore"):
            flat = np.concatenate([array.astype(dtype).ravel() for array in arrays])
        wrong = np.flatnonzero(~np.isfinite(flat))
        if len(wrong):
            ends = np.cumsum([array.size for array in arrays])
            row = int(np.searchsorted(ends, wrong[0], side="right"))
            value = arrays[row].ravel()[wrong[0] - ends[row]]
            raise self._error(
                f"returned {value} for {key!r} of row {ids[row]!r}", f"numbers must be finite and fit {dtype}"
            )
        return flat

    def _error(self, problem: str, hint: str) -> DataError:
        return DataError(f"encode() for model {self.model_name} {problem}", hint=hint)


def _arrow_array(flat: NDArray[Any], lengths: NDArray[np.int64], known: _Input) -> pa.Array:
    array = pa.array(flat)
    for size in reversed(known.trailing_shape):
        array = pa.ListArray.from_arrays(pa.array(np.arange(0, len(array) + 1, size, dtype=np.int32)), array)
    if known.axes == 0:
        return array
    return pa.ListArray.from_arrays(pa.array(np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)), array)


def _shown(value: Any) -> str:
    shown = repr(value)
    return shown if len(shown) <= 60 else f"{shown[:60]}..."
