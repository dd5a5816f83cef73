"""Reads from reconciled rows, in one pass, what the split of each row depends on."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlpipe.snapshots.content import content_digest
from mlpipe.snapshots.rows import ID, LABEL, RESERVED, SPLIT
from mlpipe.snapshots.rows_file import ReconciledRows
from mlpipe.snapshots.splits import SPLITS, RowFacts

_KEY_SIZE = 8


def read_row_facts(rows: ReconciledRows, labels: Sequence[str], group_key: str | None, seed: int) -> RowFacts:
    """One number per row and fact; `labels` are the label names by class index.

    Contents and groups are told apart by 64 bits of a sha256, so that no text is held in memory. A row whose group is
    null is a group of its own.
    """
    class_of = {name: index for index, name in enumerate(labels)}
    label_codes = np.empty(rows.num_rows, dtype=np.int64)
    user_splits = np.empty(rows.num_rows, dtype=np.int64)
    contents, groups, keys = (np.empty(rows.num_rows, dtype=np.uint64) for _ in range(3))
    at = 0
    for batch in rows.batches():
        for row in batch.to_pylist():
            row_id = row.pop(ID)
            label_codes[at] = class_of[row.pop(LABEL)]
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
    )


def label_names(rows: ReconciledRows) -> set[str]:
    """The distinct labels of all rows."""
    names: set[str] = set()
    for batch in rows.batches():
        names.update(batch.column(LABEL).unique().to_pylist())
    return names


def data_columns(rows: ReconciledRows) -> list[str]:
    """The user's own columns, in order."""
    return [name for name in rows.schema.names if name not in RESERVED]


def _number(columns: dict[str, Any]) -> int:
    return int.from_bytes(content_digest(columns)[:_KEY_SIZE], "little")


def _random_key(seed: int, row_id: str) -> int:
    return int.from_bytes(hashlib.blake2b(f"{seed}:{row_id}".encode(), digest_size=_KEY_SIZE).digest(), "little")


def _codes(numbers: NDArray[np.uint64]) -> NDArray[np.int64]:
    return np.unique(numbers, return_inverse=True)[1].astype(np.int64)
