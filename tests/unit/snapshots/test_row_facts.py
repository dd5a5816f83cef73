from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from mlpipe.snapshots.row_facts import (
    class_indices,
    commonest_labels,
    count_by_split,
    count_labels,
    is_multi_label,
    read_row_facts,
)
from mlpipe.snapshots.rows import CheckedRows
from mlpipe.snapshots.rows_file import ReconciledRows, RowsWriter, batches

LABELS = ["a", "b", "c"]
SEVERAL = [["a"], ["a", "b"], [], ["c", "a"], ["b"]]


@pytest.fixture
def rows(tmp_path: Path) -> ReconciledRows:
    """Five rows with several labels or none."""
    return written(tmp_path, SEVERAL)


def written(folder: Path, labels: list) -> ReconciledRows:
    yielded = [{"text": f"text {number}", "label": label} for number, label in enumerate(labels)]
    with RowsWriter(folder / "rows.arrow") as writer:
        for batch in batches(CheckedRows(yielded)):
            writer.append(batch)
    return ReconciledRows(folder)


def test_labels_are_counted_and_numbered(rows: ReconciledRows):
    assert is_multi_label(rows)
    assert count_labels(rows) == {"a": 3, "b": 2, "c": 1}
    (batch,) = rows.batches()
    assert class_indices(batch.column("label"), LABELS).to_pylist() == [[0], [0, 1], [], [0, 2], [1]]
    assert class_indices(batch.column("label").slice(1, 2), LABELS).to_pylist() == [[0, 1], []]
    assert class_indices(pa.array(["c", "a"]), LABELS).to_pylist() == [2, 0]


def test_a_row_is_split_by_its_rarest_label(rows: ReconciledRows):
    facts = read_row_facts(rows, LABELS, count_labels(rows), None, seed=1)
    assert facts.labels.tolist() == [0, 1, 3, 2, 1]


def test_every_label_of_a_row_is_known_to_the_split_and_a_row_without_any_is_one_kind_more(rows: ReconciledRows):
    owners, labels = read_row_facts(rows, LABELS, count_labels(rows), None, seed=1).all_labels
    assert list(zip(owners, labels, strict=True)) == [(0, 0), (1, 0), (1, 1), (2, 3), (3, 0), (3, 2), (4, 1)]


def test_the_rows_of_a_split_count_for_each_of_their_labels(rows: ReconciledRows):
    splits = np.array([0, 0, 1, 2, -1])
    assert count_by_split(rows, LABELS, splits).tolist() == [[2, 1, 0], [0, 0, 0], [1, 0, 1]]


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        ([[], ["a"], ["b"], ["a", "b"], []], ()),
        ([["b", "a"], ["a"], ["a", "b"], [], ["c"]], ("a", "b")),
        (["b", "a", "b", "c", "a"], ("a",)),
    ],
)
def test_the_majority_is_what_most_training_rows_have_together(tmp_path: Path, labels, expected):
    rows, splits = written(tmp_path, [*labels, *[["c"] if isinstance(labels[0], list) else "c"] * 3]), [0] * 5 + [2] * 3
    assert commonest_labels(rows, LABELS, np.array(splits)) == expected
