"""Texts of held-out rows that stand in another split too, word for word or nearly so.

Such a row is not unseen: a model that has learned the other by heart has it right. They are counted, never dropped.
"""

from __future__ import annotations

import hashlib
import itertools
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

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
LONGEST_MEAN_WORD = 10
"""Texts whose words have more characters, on average over all texts, are taken to be written without spaces: prose of
languages that use them stays well below. By its few long words, a text would have nothing in common with one that
differs in one place."""
CHARACTERS = 5
"""Characters in a row that are compared in texts without words: two of the usual two-character words of Chinese fit."""
NAMED_EXAMPLES = 10

COMPARED = ((TEST, TRAIN), (TEST, VALIDATION), (VALIDATION, TRAIN))
"""Which rows are looked for where: the less a split may have been seen, the earlier it stands."""


@dataclass(frozen=True)
class _HeldOut:
    """A row of validation or test that is looked for; `text` and `wording` are digests."""

    row_id: str
    split: int
    text: int
    wording: int


def find_near_duplicates(
    rows: ReconciledRows, splits: NDArray[np.int64], column: str, threshold: float
) -> NearDuplicates:
    """Count the held-out rows whose text in `column` is at least as similar as `threshold` to one of another split.

    The similarity of two texts is the share that their sets of word pairs, in lower case, have in common (Jaccard), as
    MinHash estimates it; Broder, On the resemblance and containment of documents (1997). In a column of texts with few
    spaces for their length, five characters in a row stand for a word pair, in every one of them. Values that are no
    text are left out, and so are rows whose split is DROPPED. Equal arguments give equal results.
    """
    parts_of = _runs if _have_few_spaces(text for _, _, text in _texts(rows, splits, column)) else _word_pairs
    held_out, signatures = _held_out(rows, splits, column, parts_of)
    searches = {there: _Search(held_out, signatures, there, threshold, parts_of) for there in (TRAIN, VALIDATION)}
    progress = Progress("looked for near duplicates in", rows.num_rows)
    for number, row_id, text in _texts(rows, splits, column):
        if (here := int(splits[number])) in searches:
            searches[here].look_at(row_id, text)
        progress.report(number + 1)
    leaks = {}
    for split, other in COMPARED:
        leaks[f"{SPLITS[split]}_in_{SPLITS[other]}"] = searches[other].leak_of(
            [row for row in held_out if row.split == split]
        )
    return NearDuplicates(column, threshold, leaks)


class _Search:
    """Looks through the rows of one split for texts like those of the rows of later splits.

    Every wording is compared once, and one that has been found is not looked for again: otherwise the time would grow
    with the square of the rows where many of them say the same.
    """

    def __init__(
        self,
        held_out: Iterable[_HeldOut],
        signatures: Mapping[int, MinHash],
        split: int,
        threshold: float,
        parts_of: Callable[[str], set[str]],
    ) -> None:
        from datasketch import MinHashLSH  # scipy takes half a second

        wanted = [row for row in held_out if row.split > split]
        self._signatures = signatures
        self._threshold = threshold
        self._parts_of = parts_of
        self._texts = {row.text for row in wanted}
        self._compared: set[int] = set()
        self._similar: dict[int, str] = {}
        self._identical: set[int] = set()
        strictest = min(threshold, STRICTEST_INDEX)
        self._index = MinHashLSH(threshold=strictest, num_perm=PERMUTATIONS, weights=WEIGHTS)
        for wording in {row.wording for row in wanted}:
            self._index.insert(wording, signatures[wording])

    def look_at(self, row_id: str, text: str) -> None:
        """Take the next row of the split."""
        if (digest := _digest(text)) in self._texts:
            self._identical.add(digest)
        wording = _wording(text)
        digest = _digest(wording)
        if digest in self._compared:
            return
        self._compared.add(digest)
        signature = self._signatures[digest] if digest in self._signatures else _signature(self._parts_of(wording))
        for other in self._index.query(signature):
            if self._signatures[other].jaccard(signature) >= self._threshold:
                self._similar[other] = row_id
                self._index.remove(other)

    def leak_of(self, held_out: Iterable[_HeldOut]) -> Leak:
        """What was found of these rows; an example names the first row of the split that is similar."""
        near = {row.row_id: self._similar[row.wording] for row in held_out if row.wording in self._similar}
        identical = sum(row.text in self._identical for row in held_out)
        return Leak(len(near), identical, tuple(sorted(near.items())[:NAMED_EXAMPLES]))


def _held_out(
    rows: ReconciledRows, splits: NDArray[np.int64], column: str, parts_of: Callable[[str], set[str]]
) -> tuple[list[_HeldOut], dict[int, MinHash]]:
    """The rows that are looked for, and one signature for each of their wordings."""
    held_out: list[_HeldOut] = []
    signatures: dict[int, MinHash] = {}
    for number, row_id, text in _texts(rows, splits, column):
        if splits[number] in (VALIDATION, TEST):
            wording = _wording(text)
            row = _HeldOut(row_id, int(splits[number]), _digest(text), _digest(wording))
            held_out.append(row)
            if row.wording not in signatures:
                signatures[row.wording] = _signature(parts_of(wording))
    return held_out, signatures


def _texts(rows: ReconciledRows, splits: NDArray[np.int64], column: str) -> Iterator[tuple[int, str, str]]:
    """Number, id and text of every row that is in a split and has a text."""
    number = 0
    for batch in rows.batches():
        for row_id, text in zip(batch.column(ID).to_pylist(), batch.column(column).to_pylist(), strict=True):
            if splits[number] >= 0 and isinstance(text, str) and text:
                yield number, row_id, text
            number += 1


def _digest(text: str) -> int:
    """64 bits that tell texts apart, so that none is held in memory."""
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little")


def _wording(text: str) -> str:
    """All of a text that its similarity to others depends on."""
    return " ".join(text.lower().split())


def _signature(parts: Iterable[str]) -> MinHash:
    from datasketch import MinHash

    signature = MinHash(num_perm=PERMUTATIONS)
    signature.update_batch([part.encode() for part in sorted(parts)])
    return signature


def _have_few_spaces(texts: Iterable[str]) -> bool:
    """Whether texts are compared by runs of characters: all or none, as a pair and a run have nothing in common."""
    words = (_wording(text).split(" ") for text in texts)
    return math.fsum(sum(map(len, each)) / len(each) - LONGEST_MEAN_WORD for each in words) > 0


def _word_pairs(wording: str) -> set[str]:
    """What two texts may have in common: pairs of words, or a single word."""
    return {" ".join(pair) for pair in itertools.pairwise(wording.split(" "))} or {wording}


def _runs(wording: str) -> set[str]:
    """What two texts with few spaces may have in common: CHARACTERS in a row, or all of a shorter text."""
    return {wording[start : start + CHARACTERS] for start in range(len(wording) - CHARACTERS + 1)} or {wording}
