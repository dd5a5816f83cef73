"""The checked stream of user rows: what reconcile() yields, row by row, each as the snapshot will hold it.

Of the rows that went by only digests are kept, so that the stream may be longer than memory.
"""

from __future__ import annotations

import itertools
from array import array
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from mlpipe.errors import DataError
from mlpipe.snapshots.content import content_digest, kind_of, plain
from mlpipe.specs import Split

LabelNames = str | tuple[str, ...]
"""The label of a row by its name; of multi-label data all labels of the row, sorted."""

ID, LABEL, SPLIT = RESERVED = ("id", "label", "split")

DUPLICATE_EXAMPLES = 5

_SHARE_A_COLUMN = ({"int", "float"}, {"int", "int beyond 2**53"})
_WORD_SIZE = 8


@dataclass(frozen=True, slots=True)
class Row:
    """One checked row: `number` is its 1-based position in what reconcile() yields, `columns` are the user's own."""

    number: int
    id: str
    label: LabelNames
    split: Split | None
    columns: dict[str, Any]


def row_error(number: int, problem: str, hint: str = "") -> DataError:
    """The error for one row that reconcile() yielded."""
    return DataError(f"row {number} from reconcile() {problem}", hint=hint)


class CheckedRows:
    """The rows of reconcile() without exact duplicates; iterate once, then read the counts.

    Two rows are duplicates when they are equal in every column besides `id`; the first one stays. A row without an id
    gets the first 16 hex digits of the sha256 of its other columns. Labels and ids become strings. Where the first row
    has a list of labels, the data is multi-label, and every row needs one; an empty one says that no label fits.

    Iterating raises DataError, with the row's number, for whatever a snapshot cannot hold, and at the end where there
    were no rows at all or only one label.
    """

    def __init__(self, yielded: Iterable[object]) -> None:
        self.rows_yielded = 0
        self.duplicates_dropped = 0
        self.duplicate_ids: list[str] = []
        """The user's ids of the first few rows that were dropped; empty where the user gives no ids."""
        self.labels: Counter[str] = Counter()
        """Rows per label, without the dropped ones."""
        self.rows_kept = 0
        self.is_multi_label = False
        self._yielded = yielded
        self._has_id = self._has_split = False
        self._label_kind = ""
        self._row_of_id: dict[bytes, int] = {}
        self._digests: set[bytes] = set()
        self._kinds: dict[str, dict[str, int]] = {}
        self._contents = array("Q")
        self._label_codes = array("Q")
        self._code_of_label: dict[LabelNames, int] = {}

    def __iter__(self) -> Iterator[Row]:
        for number, raw in enumerate(self._yielded, start=1):
            self.rows_yielded = number
            row = self._checked(number, _plain_columns(number, raw))
            if row is not None:
                yield row
        if not self.rows_yielded:
            raise DataError("reconcile() yielded no rows", hint="yield one mapping per labelled example")
        if len(self.labels) < 2:
            only = f"the label {next(iter(self.labels))!r}" if self.labels else "no label"
            have = f"have {only}, or none" if self.is_multi_label and self.labels else f"have {only}"
            raise DataError(
                f"all {self.rows_yielded} rows from reconcile() {have}", hint="a classifier needs at least two labels"
            )

    def conflicting_contents(self) -> int:
        """How many contents (columns besides the reserved ones) occur with more than one label."""
        columns = (self._contents, self._label_codes)
        pairs = np.stack([np.frombuffer(column, np.uint64) for column in columns], axis=1)
        distinct = np.unique(pairs, axis=0)
        _, labels_per_content = np.unique(distinct[:, 0], return_counts=True)
        return int(np.count_nonzero(labels_per_content > 1))

    def _checked(self, number: int, columns: dict[str, Any]) -> Row | None:
        """The row, or None for a duplicate of an earlier one."""
        given_id, label, split = (columns.pop(name, None) for name in RESERVED)
        if not columns:
            raise row_error(number, "has no column besides id, label and split", "yield what is to be classified")
        if label is None:
            hint = (
                f"every row needs one: a str or an int, or a list of them; its other columns are {', '.join(columns)}"
            )
            raise row_error(number, "has no `label`", hint)
        self._check_uniform(number, label, given_id, split)
        names = _names(number, label)
        checked_split = None if split is None else _split(number, split)
        for name, value in columns.items():
            if value is not None:
                self._check_kind(number, name, value)
        digest = content_digest({**columns, LABEL: names, SPLIT: split})
        if digest in self._digests:
            self._count_duplicate(given_id)
            return None
        self._digests.add(digest)
        row_id = digest[:_WORD_SIZE].hex() if given_id is None else self._checked_id(number, given_id)
        self._count(columns, names)
        return Row(number, row_id, names, checked_split, columns)

    def _check_uniform(self, number: int, label: Any, given_id: Any, split: Any) -> None:
        """Ids and splits are given by all rows or by none, and all labels are of one kind."""
        if number == 1:
            self._has_id, self._has_split = given_id is not None, split is not None
            self.is_multi_label = isinstance(label, list)
        for name, value, expected in ((ID, given_id, self._has_id), (SPLIT, split, self._has_split)):
            if (value is not None) != expected:
                problem = f"has no `{name}`, unlike the rows before it" if expected else f"is the first with `{name}`"
                raise row_error(number, problem, f"give every row its `{name}`, or none")
        self._check_labels(number, label)

    def _check_labels(self, number: int, label: Any) -> None:
        if isinstance(label, list) != self.is_multi_label:
            expected = "lists" if self.is_multi_label else "single values"
            raise row_error(
                number,
                f"has the label {label!r}, but the labels before it are {expected}",
                "give every row a list of labels, or none",
            )
        for each in label if self.is_multi_label else [label]:
            kind = _label_kind(number, each)
            self._label_kind = self._label_kind or kind
            if kind != self._label_kind:
                raise row_error(
                    number,
                    f"has the {kind} label {each!r}, but the labels before it are {self._label_kind}",
                    "use one type for all labels",
                )

    def _check_kind(self, number: int, name: str, value: Any) -> None:
        """A column holds one kind of value, or integers and floats that can share a column."""
        seen, kind = self._kinds.setdefault(name, {}), kind_of(value)
        if kind in seen:
            return
        clash = next((other for other in seen if not any({kind, other} <= pair for pair in _SHARE_A_COLUMN)), None)
        if clash is not None:
            raise row_error(
                number,
                f"holds {kind} in column {name!r}, but row {seen[clash]} holds {clash} there",
                "use one type per column; a missing value is None",
            )
        seen[kind] = number

    def _checked_id(self, number: int, given_id: Any) -> str:
        if isinstance(given_id, bool) or not isinstance(given_id, str | int) or given_id == "":
            raise row_error(number, f"has the id {given_id!r}", "an id is a str or an int, and not empty")
        row_id = str(given_id)
        digest = content_digest({ID: row_id})
        first = self._row_of_id.setdefault(digest, number)
        if first != number:
            raise row_error(number, f"has the id {row_id!r}, as row {first} has", "every row needs an id of its own")
        return row_id

    def _count_duplicate(self, given_id: Any) -> None:
        self.duplicates_dropped += 1
        if given_id is not None and len(self.duplicate_ids) < DUPLICATE_EXAMPLES:
            self.duplicate_ids.append(str(given_id))

    def _count(self, columns: Mapping[str, Any], label: LabelNames) -> None:
        self.rows_kept += 1
        self.labels.update([label] if isinstance(label, str) else label)
        self._contents.append(int.from_bytes(content_digest(columns)[:_WORD_SIZE], "little"))
        self._label_codes.append(self._code_of_label.setdefault(label, len(self._code_of_label)))


def _plain_columns(number: int, raw: object) -> dict[str, Any]:
    if not isinstance(raw, Mapping):
        raise row_error(number, f"is a {type(raw).__name__}", "yield mappings such as {'text': ..., 'label': ...}")
    if not raw:
        raise row_error(number, "is an empty mapping", "yield mappings such as {'text': ..., 'label': ...}")
    columns = {}
    for name, value in raw.items():
        if not isinstance(name, str) or not name:
            raise row_error(number, f"has a column named {name!r}", "column names are non-empty strings")
        try:
            columns[name] = plain(value)
        except ValueError as error:
            raise row_error(number, f"holds NaN in column {name!r}", "a missing value is None") from error
    return columns


def _label_kind(number: int, label: Any) -> str:
    if label is None:
        raise row_error(number, "has None among its labels", "a row without labels has an empty list")
    if isinstance(label, list | set | frozenset | dict):
        raise row_error(
            number, f"has a {type(label).__name__} as a label", "a label is a str or an int, or a list of them"
        )
    if isinstance(label, bool) or not isinstance(label, str | int):
        raise row_error(number, f"has the label {label!r} ({type(label).__name__})", "a label is a str or an int")
    return "int" if isinstance(label, int) else "str"


def _names(number: int, label: Any) -> LabelNames:
    if not isinstance(label, list):
        return _label_name(number, label, "a label has to be readable")
    hint = "a label has to be readable; a row without any has an empty list"
    names = sorted(_label_name(number, each, hint) for each in label)
    twice = [name for name, following in itertools.pairwise(names) if name == following]
    if twice:
        raise row_error(number, f"has the label {twice[0]!r} twice", "list every label of a row once")
    return tuple(names)


def _label_name(number: int, label: str | int, hint: str) -> str:
    """The label as a string; `hint` goes with the error for an empty one."""
    name = str(label)
    if not name.strip():
        raise row_error(number, f"has the empty label {name!r}", hint)
    return name


def _split(number: int, split: Any) -> Split:
    try:
        return Split(split)
    except ValueError as error:
        names = ", ".join(Split)
        raise row_error(number, f"has the split {split!r}", f"expected one of {names}, written like this") from error
