"""Texts of held-out rows that stand in another split too, word for word or nearly so.

Such a row is not unseen: a model that has learned the other by heart has it right. They are counted, never dropped.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mlpipe.snapshots.data_card import Leak, NearDuplicates
from mlpipe.snapshots.progress import Progress
from mlpipe.snapshots.rows import ID
from mlpipe.snapshots.rows_file import ReconciledRows
from mlpipe.snapshots.splits import SPLITS, TEST, TRAIN, VALIDATION

if TYPE_CHECKING:
    from datasketch import MinHash

PERMUTATIONS = 128
"""Numbers in a signature: the standard error of a similarity of 0.8 is 0.035."""
WEIGHTS = (0.2, 0.8)
"""How much a false candidate and a missed one weigh in the index: only candidates are looked at again."""
STRICTEST_INDEX = 0.95
"""An index for a higher threshold can have a single band, which datasketch refuses, and saves no work."""
NAMED_EXAMPLES = 10

COMPARED = ((TEST, TRAIN), (TEST, VALIDATION), (VALIDATION, TRAIN))
"""Which rows are looked for where: the less a split may have been seen, the earlier it stands."""


@dataclass(frozen=True)
class _HeldOut:
    """A row of validation or test that is looked for."""

    row_id: str
    split: int
    text: str
    signature: MinHash


def find_near_duplicates(
    rows: ReconciledRows, splits: NDArray[np.int64], column: str, threshold: float
) -> NearDuplicates:
    """Count the held-out rows whose text in `column` is at least as similar as `threshold` to one of another split.

    The similarity of two texts is the share that their sets of word pairs, in lower case, have in common (Jaccard), as
    MinHash estimates it; Broder, On the resemblance and containment of documents (1997). Values that are no text are
    left out, and so are rows whose split is DROPPED. Equal arguments give equal results.
    """
    held_out = dict(_held_out(rows, splits, column))
    similar, identical = _search(rows, splits, column, threshold, held_out)
    leaks = {}
    for split, other in COMPARED:
        found = {number: like for (number, there), like in similar.items() if there == other}
        here = {held_out[number].row_id: like for number, like in found.items() if held_out[number].split == split}
        same = sum(held_out[number].split == split for number, there in identical if there == other)
        examples = tuple(sorted(here.items())[:NAMED_EXAMPLES])
        leaks[f"{SPLITS[split]}_in_{SPLITS[other]}"] = Leak(len(here), same, examples)
    return NearDuplicates(column, threshold, leaks)


def _search(
    rows: ReconciledRows, splits: NDArray[np.int64], column: str, threshold: float, held_out: Mapping[int, _HeldOut]
) -> tuple[dict[tuple[int, int], str], set[tuple[int, int]]]:
    """Per held-out row and other split: the first id there of a similar row; and where an identical one stands."""
    from datasketch import MinHashLSH  # scipy takes half a second

    index = MinHashLSH(threshold=min(threshold, STRICTEST_INDEX), num_perm=PERMUTATIONS, weights=WEIGHTS)
    for number, row in held_out.items():
        index.insert(number, row.signature)
    similar: dict[tuple[int, int], str] = {}
    identical: set[tuple[int, int]] = set()
    progress = Progress("looked for near duplicates in", rows.num_rows)
    for number, row_id, text in _texts(rows, splits, column):
        here = int(splits[number])
        signature = held_out[number].signature if number in held_out else _signature(text)
        for other in index.query(signature) if here != TEST else ():
            row = held_out[other]
            if row.split > here and row.signature.jaccard(signature) >= threshold:
                similar.setdefault((other, here), row_id)
                if row.text == text:
                    identical.add((other, here))
        progress.report(number + 1)
    return similar, identical


def _held_out(rows: ReconciledRows, splits: NDArray[np.int64], column: str) -> Iterator[tuple[int, _HeldOut]]:
    for number, row_id, text in _texts(rows, splits, column):
        if splits[number] in (VALIDATION, TEST):
            yield number, _HeldOut(row_id, int(splits[number]), text, _signature(text))


def _texts(rows: ReconciledRows, splits: NDArray[np.int64], column: str) -> Iterator[tuple[int, str, str]]:
    """Number, id and text of every row that is in a split and has a text."""
    number = 0
    for batch in rows.batches():
        for row_id, text in zip(batch.column(ID).to_pylist(), batch.column(column).to_pylist(), strict=True):
            if splits[number] >= 0 and isinstance(text, str) and text:
                yield number, row_id, text
            number += 1


def _signature(text: str) -> Any:
    from datasketch import MinHash

    words = text.lower().split()
    pairs = {" ".join(pair) for pair in itertools.pairwise(words)} or {" ".join(words)}
    signature = MinHash(num_perm=PERMUTATIONS)
    signature.update_batch([pair.encode() for pair in sorted(pairs)])
    return signature
