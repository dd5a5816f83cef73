"""From a split of a prepared snapshot to batches: which rows go together, and the padded tensors that they make.

Rows stay in memory-mapped Arrow files. A ragged column is its values laid end to end plus where each row begins and how
long it is, so that a batch is made by slicing, without a Python object per value.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch
from datasets import Dataset, load_from_disk
from numpy.typing import NDArray

from mlpipe.errors import DataError
from mlpipe.specs import EncodedInput, Encoding, TaskType

MEGABATCH = 50
"""Batches that are sorted by length together: as in Hugging Face's LengthGroupedSampler (transformers)."""


def epoch_batches(lengths: NDArray[np.int64], batch_size: int, seed: int, epoch: int) -> list[NDArray[np.int64]]:
    """The row numbers of every batch of one epoch; each row occurs exactly once.

    All rows are shuffled, cut into megabatches of 50 batches, each megabatch is sorted by length and cut into batches,
    and the order of the batches is shuffled: rows of similar length meet, in other company each epoch. Every batch has
    `batch_size` rows but one, which holds the rest. A deterministic function of its arguments.
    """
    generator = np.random.default_rng([seed, epoch])
    rows = generator.permutation(len(lengths))
    batches = []
    for start in range(0, len(rows), MEGABATCH * batch_size):
        megabatch = rows[start : start + MEGABATCH * batch_size]
        by_length = megabatch[np.argsort(lengths[megabatch], kind="stable")]
        batches += [by_length[at : at + batch_size] for at in range(0, len(by_length), batch_size)]
    return [batches[i] for i in generator.permutation(len(batches))]


def budget_batches(lengths: NDArray[np.int64], token_budget: int, max_batch: int) -> list[NDArray[np.int64]]:
    """The row numbers of batches for a pass without learning, shortest rows first; each row occurs exactly once.

    A batch holds at most `max_batch` rows and at most `token_budget` elements once padded to its longest row; a row
    that is longer than the budget is a batch by itself.
    """
    order = np.argsort(lengths, kind="stable")
    starts = [0]
    for at, row in enumerate(order):
        size = at - starts[-1] + 1
        if size > 1 and (size > max_batch or size * lengths[row] > token_budget):
            starts.append(at)
    return [part for part in np.split(order, starts[1:]) if len(part)]


@dataclass(frozen=True)
class EncodedRows:
    """One split of a prepared snapshot, as one model sees it.

    `ids` and `labels` have one entry per row: its class index, or of multi-label data 1 in the column of each of its
    labels and 0 elsewhere, uint8 (rows, labels). `lengths` holds each row's length before padding: that of
    its longest ragged input, and at least 1, because no model takes an empty axis.
    """

    ids: list[str]
    labels: NDArray[Any]
    lengths: NDArray[np.int64]
    inputs: Mapping[str, _Column]

    @classmethod
    def open(cls, folder: Path, encoding: Encoding, model_name: str) -> EncodedRows:
        """Map a split into memory. Raises DataError where the files are not what `encoding` says."""
        try:
            dataset = load_from_disk(str(folder))
        except (OSError, ValueError, KeyError) as error:
            raise DataError(f"{folder} holds no readable split of a snapshot: {error}") from error
        if not isinstance(dataset, Dataset):
            raise DataError(f"{folder} holds several splits, one was expected")
        table = dataset.data.table
        described = encoding.inputs[model_name]
        inputs = {
            key: _Column.read(_column(table, name, folder), name, described[key])
            for key, name in encoding.columns(model_name).items()
        }
        ragged = [column.lengths() for key, column in inputs.items() if described[key].ragged]
        return cls(
            ids=_column(table, "id", folder).to_pylist(),
            labels=read_labels(_column(table, "label", folder), encoding),
            lengths=np.maximum.reduce([np.ones(table.num_rows, dtype=np.int64), *ragged]),
            inputs=inputs,
        )

    @classmethod
    def of_arrays(
        cls, ids: list[str], parts: Sequence[Mapping[str, pa.Array]], described: Mapping[str, EncodedInput]
    ) -> EncodedRows:
        """Rows that are in no snapshot, as Arrow arrays in parts; their labels are not known, and are all 0.

        Raises DataError where an input that is `described` is missing, or the arrays are not what that says.
        """
        missing = [key for key in described if key not in parts[0]]
        if missing:
            raise DataError(f"encode() returned no {missing[0]!r}, only {', '.join(parts[0])}")
        inputs = {
            key: _Column.read(pa.chunked_array([part[key] for part in parts]), key, spec)
            for key, spec in described.items()
        }
        ragged = [column.lengths() for key, column in inputs.items() if described[key].ragged]
        lengths = np.maximum.reduce([np.ones(len(ids), dtype=np.int64), *ragged])
        return cls(ids, np.zeros(len(ids), np.int64), lengths, inputs)

    def __len__(self) -> int:
        return len(self.ids)

    def collate(
        self, rows: Sequence[int] | NDArray[np.int64], padding: Mapping[str, int | float], length: int | None = None
    ) -> dict[str, torch.Tensor]:
        """The inputs of some rows as tensors, in the order of `padding`'s keys.

        A ragged input becomes (rows, length, ...), filled up with its value in `padding`; without `length` it is padded
        to the longest of these rows. The others become (rows, ...). Raises DataError for a row longer than `length`.
        """
        longest = int(self.lengths[rows].max())
        if length is not None and longest > length:
            row = rows[int(np.argmax(self.lengths[rows]))]
            raise DataError(f"row {self.ids[row]!r} has length {longest}, but at most {length} is possible")
        width = longest if length is None else length
        return {key: self.inputs[key].batch(rows, value, width) for key, value in padding.items()}


@dataclass(frozen=True)
class _Chunk:
    """Rows that lie in one piece: as many of `values`, (elements, *trailing), as `sizes` says, row after row."""

    values: NDArray[Any]
    sizes: NDArray[np.int64]

    def starts(self) -> NDArray[np.int64]:
        """Where each row begins in `values`."""
        return np.cumsum(self.sizes) - self.sizes


@dataclass(frozen=True)
class _Column:
    """One encoded input over all rows of a split.

    Row i is `values[chunk][starts[i] : starts[i] + sizes[i]]`, the chunk being the last one whose `first_rows` is at
    most i.
    """

    spec: EncodedInput
    values: tuple[NDArray[Any], ...]
    first_rows: NDArray[np.int64]
    starts: NDArray[np.int64]
    sizes: NDArray[np.int64]

    @classmethod
    def read(cls, column: pa.ChunkedArray, name: str, spec: EncodedInput) -> _Column:
        chunks = tuple(_chunk(array, name, spec) for array in column.chunks if len(array))
        nothing = np.empty(0, dtype=np.int64)
        return cls(
            spec=spec,
            values=tuple(chunk.values for chunk in chunks),
            first_rows=np.cumsum([0, *(len(chunk.sizes) for chunk in chunks)], dtype=np.int64)[:-1],
            starts=np.concatenate([nothing, *(chunk.starts() for chunk in chunks)]),
            sizes=np.concatenate([nothing, *(chunk.sizes for chunk in chunks)]),
        )

    def lengths(self) -> NDArray[np.int64]:
        return self.sizes

    def batch(self, rows: Sequence[int] | NDArray[np.int64], padding_value: float, width: int) -> torch.Tensor:
        # Where the rows lie is looked up for all of them at once. Their values are copied row by row, a piece each:
        # a gather over index arrays was faster for rows of 16 elements, but slower for those of 64 and more.
        chunks = np.searchsorted(self.first_rows, rows, side="right") - 1
        places = zip(chunks.tolist(), self.starts[rows].tolist(), self.sizes[rows].tolist(), strict=True)
        shape = (len(rows), width if self.spec.ragged else 1, *self.spec.trailing_shape)
        padded = np.full(shape, padding_value, dtype=self.spec.dtype)
        for row, (chunk, start, size) in zip(padded, places, strict=True):
            row[:size] = self.values[chunk][start : start + size]
        return torch.from_numpy(padded if self.spec.ragged else padded[:, 0])


def _column(table: pa.Table, name: str, folder: Path) -> pa.ChunkedArray:
    if name not in table.column_names:
        raise DataError(f"{folder} has no column {name!r}, only {', '.join(table.column_names)}")
    column = table.column(name)
    if column.null_count:
        row = next(i for i, value in enumerate(column) if not value.is_valid)
        raise DataError(f"column {name!r} of {folder} is empty in row {row}")
    return column


def read_labels(column: pa.ChunkedArray, encoding: Encoding) -> NDArray[Any]:
    """The labels of a snapshot's rows as `EncodedRows.labels` has them; DataError where they are no class indices."""
    is_multi_label = encoding.task_type is TaskType.MULTI_LABEL
    if is_multi_label != pa.types.is_list(column.type):
        raise DataError(f"the labels of a {encoding.task_type} snapshot cannot be {column.type}")
    flat = column.combine_chunks().flatten() if is_multi_label else column
    if not pa.types.is_integer(flat.type):
        raise DataError(f"the labels of a snapshot are class indices, but this column holds {column.type}")
    rows = pc.list_parent_indices(column.combine_chunks()).to_numpy() if is_multi_label else np.arange(len(column))
    labels: NDArray[np.int64] = flat.to_numpy().astype(np.int64)
    outside = np.flatnonzero((labels < 0) | (labels >= len(encoding.labels)))
    if len(outside):
        row, largest = int(rows[outside[0]]), len(encoding.labels) - 1
        raise DataError(f"row {row} has label {labels[outside[0]]}, but there are only the classes 0 to {largest}")
    if not is_multi_label:
        return labels
    indicators = np.zeros((len(column), len(encoding.labels)), dtype=np.uint8)
    indicators[rows, labels] = 1
    return indicators


def _chunk(array: pa.Array, name: str, spec: EncodedInput) -> _Chunk:
    """Peel off one list level per axis; every axis but a ragged first one must have the size that `spec` gives."""
    sizes = np.ones(len(array), dtype=np.int64)
    if spec.ragged:
        sizes, array = _peel(array, name)
    elements = len(array)
    for expected in spec.trailing_shape:
        inner, array = _peel(array, name)
        if np.any(inner != expected):
            wrong = inner[inner != expected][0]
            raise DataError(f"column {name!r} has an axis of size {wrong} where {expected} was expected")
    if array.null_count or not _is_number(array.type):
        raise DataError(f"column {name!r} has to hold numbers ({spec.dtype}), none missing; it holds {array.type}")
    values = array.to_numpy(zero_copy_only=False)
    return _Chunk(values.reshape(elements, *spec.trailing_shape), sizes)


def _peel(array: pa.Array, name: str) -> tuple[NDArray[np.int64], pa.Array]:
    """The size of every list of the outermost level, and what the lists hold, end to end."""
    if isinstance(array, pa.ExtensionArray):
        array = array.storage
    if not isinstance(array, pa.ListArray | pa.LargeListArray | pa.FixedSizeListArray):
        raise DataError(f"column {name!r} has to hold lists, but one of its levels holds {array.type}")
    if array.null_count:
        raise DataError(f"column {name!r} holds a missing (null) list")
    sizes: NDArray[np.int64] = pc.list_value_length(array).to_numpy().astype(np.int64)
    return sizes, array.flatten()


def _is_number(kind: pa.DataType) -> bool:
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind))
