from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mlpipe.manifest import SUCCESS, digest, write_manifest
from mlpipe.report.predictions import Predictions
from mlpipe.storage import LocalStorage
from mlpipe.storage.units import open_unit


def read(folder: Path, columns: dict[str, Any]) -> Predictions:
    unit = folder / "unit"
    unit.mkdir()
    pq.write_table(pa.table(columns), unit / "predictions.parquet")
    write_manifest(unit)
    (unit / SUCCESS).write_text(digest((unit / "manifest.json").read_bytes()))
    return Predictions.read(open_unit(LocalStorage(folder), "unit"))


def test_the_mistakes_of_one_label_a_row_are_ranked_by_the_label_that_was_given(tmp_path: Path):
    found = read(tmp_path, {
        "id": ["r1", "r2", "r3"], "truth": ["a", "a", "b"], "prediction": ["b", "a", "a"],
        "probability_a": [0.4, 0.9, 0.8], "probability_b": [0.6, 0.1, 0.2],
    })  # fmt: skip
    assert [(each.row.row_id, each.truth, each.predicted) for each in found.mistakes(5)] == [
        ("r3", "b", "a"),
        ("r1", "a", "b"),
    ]
    assert [each.probability for each in found.mistakes(5)] == pytest.approx([0.8, 0.6])
    assert len(found.mistakes(1)) == 1
    confusion = found.confusion(("a", "b"))
    assert confusion is not None
    assert confusion.tolist() == [[1, 1], [1, 0]]


def test_the_mistakes_of_several_labels_a_row_are_ranked_by_the_surest_wrong_decision(tmp_path: Path):
    found = read(tmp_path, {
        "id": ["r1", "r2", "r3"],
        "truth": pa.array([["a"], [], ["a", "b"]], pa.list_(pa.string())),
        "prediction": pa.array([["a", "b"], [], ["b"]], pa.list_(pa.string())),
        "probability_a": [0.99, 0.1, 0.05], "probability_b": [0.7, 0.2, 0.9],
    })  # fmt: skip
    assert [(each.truth, each.predicted) for each in found.mistakes(5)] == [("a, b", "b"), ("a", "a, b")]
    assert [each.probability for each in found.mistakes(5)] == pytest.approx([0.95, 0.7])
    assert found.confusion(("a", "b")) is None
