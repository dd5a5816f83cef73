"""Data cards: what is in a snapshot, in numbers.

They hold no times and no names of machines, so that equal data has equal cards.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from mlpipe.specs import TaskType

DATA_CARD = "data_card.json"
FORMAT_VERSION = 1


@dataclass(frozen=True)
class Lengths:
    """How long things are; `median` and `p95` are nearest ranks, so that every number is a length that occurs."""

    min: int
    median: int
    p95: int
    max: int

    @classmethod
    def of(cls, counts: Mapping[int, int]) -> Lengths:
        """From a non-empty mapping of length to how often it occurs."""
        return cls(min(counts), _nearest_rank(counts, 0.5), _nearest_rank(counts, 0.95), max(counts))


class TextLengths:
    """Counts the characters of every string column, and the words of one of them, as batches go by."""

    def __init__(self, text_column: str | None) -> None:
        self._text_column = text_column
        self._characters: dict[str, Counter[int]] = {}
        self._words: Counter[int] = Counter()

    def add(self, columns: Mapping[str, Any]) -> None:
        """Count the values of one row."""
        for name, value in columns.items():
            if isinstance(value, str):
                self._characters.setdefault(name, Counter())[len(value)] += 1
        text = columns.get(self._text_column) if self._text_column else None
        if isinstance(text, str):
            self._words[len(text.split())] += 1

    def characters(self) -> dict[str, Lengths]:
        """Characters per value, for every column that holds strings; None is not counted."""
        return {name: Lengths.of(counts) for name, counts in self._characters.items()}

    def words(self) -> Lengths | None:
        """Words per text, separated by white space; None where no text column is set."""
        return Lengths.of(self._words) if self._words else None


@dataclass(frozen=True)
class ReconciledCard:
    """data_card.json of a reconciled snapshot.

    `rows` and `labels` (in class order) count what is in rows.arrow; `duplicate_ids` are the user's ids of some dropped
    rows; `conflicting_contents` counts the contents that occur with more than one label; `columns` are Arrow types.
    """

    task_type: TaskType
    rows: int
    rows_yielded: int
    duplicates_dropped: int
    duplicate_ids: tuple[str, ...]
    conflicting_contents: int
    columns: Mapping[str, str]
    labels: Mapping[str, int]
    characters: Mapping[str, Lengths]
    words: Lengths | None
    format_version: int = FORMAT_VERSION

    def to_json(self) -> dict[str, Any]:
        """The content of data_card.json."""
        return asdict(self)


@dataclass(frozen=True)
class Groups:
    """What DATA.GROUP_KEY did: how many groups there are, and how many of them the user's own splits cut apart.

    A row without a value in the column is a group of its own.
    """

    key: str
    count: int
    across_splits: int


@dataclass(frozen=True)
class Leak:
    """Rows of one split whose text stands in another as well.

    `near` counts those that are at least as similar as the threshold, `identical` those of them that are equal, letter
    for letter. `examples` are pairs of ids, one of each split.
    """

    near: int
    identical: int
    examples: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class NearDuplicates:
    """What DATA.NEAR_DUPLICATE_THRESHOLD found in DATA.TEXT_COLUMN.

    `leaks` has test_in_train, test_in_validation and validation_in_train: rows of the first that are in the second.
    """

    column: str
    threshold: float
    leaks: Mapping[str, Leak]


@dataclass(frozen=True)
class PreparedCard:
    """data_card.json of a prepared snapshot.

    `rows` counts per split, `labels` per label name and split; `majority` are the labels that most training rows have
    (see `commonest_labels`). `encoded_lengths` holds, per model and split, the
    lengths of the longest ragged input of each row; a model without ragged inputs is left out. `dropped_rows` says how
    many rows of the user's splits were left out because the named split holds the same content. `near_duplicates` is
    None where there is no text column or none are looked for. `test_sha256` identifies the test set (see
    `digest_of_test_set`). `reconciled` is the card of the rows that all this was made of.
    """

    task_type: TaskType
    rows: Mapping[str, int]
    labels: Mapping[str, Mapping[str, int]]
    majority: tuple[str, ...]
    labels_without_test_rows: tuple[str, ...]
    encoded_lengths: Mapping[str, Mapping[str, Lengths]]
    dropped_rows: Mapping[str, int]
    groups: Groups | None
    near_duplicates: NearDuplicates | None
    test_sha256: str
    reconciled: Mapping[str, Any]
    format_version: int = FORMAT_VERSION

    def to_json(self) -> dict[str, Any]:
        """The content of data_card.json."""
        return asdict(self)


def digest_of_test_set(sorted_pairs: Iterable[tuple[str, str | list[str]]]) -> str:
    """The sha256 that identifies a test set, in hex.

    Over the (id, label name) pairs in the order of their ids, each as a JSON list without spaces and a newline; of
    multi-label data a pair has the list of the row's label names, sorted. Two
    runs whose digests are equal were measured on the same rows with the same truth.
    """
    digest = hashlib.sha256()
    for pair in sorted_pairs:
        digest.update(json.dumps(pair, separators=(",", ":")).encode() + b"\n")
    return digest.hexdigest()


def _nearest_rank(counts: Mapping[int, int], quantile: float) -> int:
    wanted, seen = quantile * sum(counts.values()), 0
    for length in sorted(counts):
        seen += counts[length]
        if seen >= wanted:
            return length
    return max(counts)
