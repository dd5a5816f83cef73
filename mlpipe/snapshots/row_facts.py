"""Reads from reconciled rows, in one pass, what the split of each row depends on."""

from __future__ import annotations

import hashlib
from array import array
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from mlpipe.snapshots.content import content_digest
from mlpipe.snapshots.rows import ID, LABEL, RESERVED, SPLIT
from mlpipe.snapshots.rows_file import ReconciledRows
from mlpipe.snapshots.splits import SPLITS, TRAIN, RowFacts

_KEY_SIZE = 8


def read_row_facts(
    rows: ReconciledRows, labels: Sequence[str], counts: Mapping[str, int], group_key: str | None, seed: int
) -> RowFacts:
    """One number per row and fact; `labels` are the label names by class index, `counts` how many rows have each.

    Of multi-label data, the label that a row is stratified by is its rarest one; rows without any are one kind more.
    Contents and groups are told apart by 64 bits of a sha256, so that no text is held in memory. A row whose group is
    null is a group of its own.
    """
    class_of: dict[str | None, int] = {None: len(labels), **{name: index for index, name in enumerate(labels)}}
    label_codes = np.empty(rows.num_rows, dtype=np.int64)
    user_splits = np.empty(rows.num_rows, dtype=np.int64)
    owners, owned = array("q"), array("q")
    contents, groups, keys = (np.empty(rows.num_rows, dtype=np.uint64) for _ in range(3))
    at = 0
    for batch in rows.batches():
        for row in batch.to_pylist():
            row_id = row.pop(ID)
            label = row.pop(LABEL)
            label_codes[at] = class_of[_rarest(label, counts)]
            if isinstance(label, list):
                owners.extend([at] * len(label) or [at])
                owned.extend([class_of[name] for name in label] or [class_of[None]])
            user_splits[at] = SPLITS.index(row.pop(SPLIT, SPLITS[0]))
            keys[at] = _random_key(seed, row_id)
            contents[at] = _number(row)
            if group_key is not None:
                group = row[group_key]
                groups[at] = _number({"group": group} if group is not None else {ID: row_id})
            at += 1
    return RowFacts(
        labels=label_codes,
        contents=_codes(contents),
        keys=keys,
        groups=_codes(groups) if group_key is not None else None,
        user_splits=user_splits if SPLIT in rows.schema.names else None,
        all_labels=(np.array(owners), np.array(owned)) if is_multi_label(rows) else None,
    )


def _rarest(label: str | list[str], counts: Mapping[str, int]) -> str | None:
    if isinstance(label, str):
        return label
    return min(label, key=lambda name: (counts[name], name), default=None)


def is_multi_label(rows: ReconciledRows) -> bool:
    """Whether every row has a list of labels."""
    return bool(pa.types.is_list(rows.schema.field(LABEL).type))


def count_labels(rows: ReconciledRows) -> Counter[str]:
    """How many rows have each label."""
    counts: Counter[str] = Counter()
    for batch in rows.batches():
        column = batch.column(LABEL)
        counts.update((column.flatten() if pa.types.is_list(column.type) else column).to_pylist())
    return counts


def class_indices(column: pa.Array, labels: Sequence[str]) -> pa.Array:
    """A column of label names, or of lists of them, as class indices: int64, or lists of int64."""
    names = pa.array(labels, pa.string())
    if not pa.types.is_list(column.type):
        return pc.index_in(column, names).cast(pa.int64())
    indices = pc.index_in(column.flatten(), names).cast(pa.int64())
    ends = np.cumsum(pc.list_value_length(column).to_numpy(zero_copy_only=False), dtype=np.int32)
    return pa.ListArray.from_arrays(pa.array(np.concatenate([[0], ends]).astype(np.int32)), indices)


def count_by_split(rows: ReconciledRows, labels: Sequence[str], splits: NDArray[np.int64]) -> NDArray[np.int64]:
    """The rows of each split that have each label: (3, labels)."""
    counts = np.zeros((len(SPLITS), len(labels)), dtype=np.int64)
    start = 0
    for batch in rows.batches():
        column, here = class_indices(batch.column(LABEL), labels), splits[start : start + len(batch)]
        start += len(batch)
        if pa.types.is_list(column.type):
            here = here[pc.list_parent_indices(column).to_numpy()]
            column = column.flatten()
        stays = here >= 0
        np.add.at(counts, (here[stays], column.to_numpy()[stays]), 1)
    return counts


def commonest_labels(rows: ReconciledRows, labels: Sequence[str], splits: NDArray[np.int64]) -> tuple[str, ...]:
    """The labels that most training rows have, no fewer and no more; of equally frequent ones the first by class.

    One label, but of multi-label data any number, also none.
    """
    counts: Counter[tuple[int, ...]] = Counter()
    start = 0
    for batch in rows.batches():
        column, here = class_indices(batch.column(LABEL), labels), splits[start : start + len(batch)]
        start += len(batch)
        chosen = column.filter(pa.array(here == TRAIN)).to_pylist()
        counts.update(tuple(sorted(row)) if isinstance(row, list) else (row,) for row in chosen)
    commonest = min(counts, key=lambda classes: (-counts[classes], classes))
    return tuple(labels[index] for index in commonest)


def data_columns(rows: ReconciledRows) -> list[str]:
    """The user's own columns, in order."""
    return [name for name in rows.schema.names if name not in RESERVED]


def _number(columns: dict[str, Any]) -> int:
    return int.from_bytes(content_digest(columns)[:_KEY_SIZE], "little")


def _random_key(seed: int, row_id: str) -> int:
    return int.from_bytes(hashlib.blake2b(f"{seed}:{row_id}".encode(), digest_size=_KEY_SIZE).digest(), "little")


def _codes(numbers: NDArray[np.uint64]) -> NDArray[np.int64]:
    return np.unique(numbers, return_inverse=True)[1].astype(np.int64)
