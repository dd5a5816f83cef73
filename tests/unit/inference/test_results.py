from __future__ import annotations

import json

import numpy as np
import pyarrow.parquet as pq
import pytest
from sklearn import metrics

from mlpipe.inference.results import write_results
from mlpipe.inference.timing import Timing

LABELS = ("animal", "mineral", "plant")
TIMING = Timing(6, 123.4, 6, 1.5, 2.5, 2, "2.13.0", 1)


@pytest.fixture
def rows(snapshot, token_rows):
    return snapshot(token_rows([3] * 6)).rows()


@pytest.fixture
def logits():
    return np.random.default_rng(3).normal(size=(6, 3)).astype(np.float32)


def write(folder, rows, logits):
    return write_results(folder, rows, LABELS, logits, TIMING, resamples=200, seed=5)


def test_predictions_have_one_line_per_row_in_order_with_a_probability_for_each_label(tmp_path, rows, logits):
    write(tmp_path, rows, logits)
    table = pq.read_table(tmp_path / "predictions.parquet")

    assert table.column_names == ["id", "truth", "prediction", *(f"probability_{label}" for label in LABELS)]
    assert [str(kind) for kind in table.schema.types] == ["string"] * 3 + ["float"] * 3
    assert table["id"].to_pylist() == rows.ids
    assert table["truth"].to_pylist() == [LABELS[label] for label in rows.labels]
    assert table["prediction"].to_pylist() == [LABELS[label] for label in logits.argmax(axis=1)]
    probabilities = np.stack([table[f"probability_{label}"].to_numpy() for label in LABELS], axis=1)
    powers = np.exp(logits.astype(np.float64))
    np.testing.assert_allclose(probabilities, powers / powers.sum(axis=1, keepdims=True), rtol=1e-6)


def test_statistics_are_those_of_the_predictions_beside_them(tmp_path, rows, logits):
    returned = write(tmp_path, rows, logits)
    written = json.loads((tmp_path / "statistics.json").read_bytes())
    table = pq.read_table(tmp_path / "predictions.parquet")
    truth, prediction = table["truth"].to_pylist(), table["prediction"].to_pylist()

    assert written == json.loads(json.dumps(returned.to_json()))
    assert (written["num_rows"], written["resamples"], written["seed"]) == (6, 200, 5)
    assert written["accuracy"]["value"] == pytest.approx(metrics.accuracy_score(truth, prediction))
    assert written["macro_f1"]["value"] == pytest.approx(
        metrics.f1_score(truth, prediction, average="macro", zero_division=0)
    )
    assert {entry["label"]: entry["support"] for entry in written["per_label"]} == {
        name: truth.count(name) for name in LABELS
    }


def test_timing_is_written_beside_the_statistics_and_not_into_them(tmp_path, rows, logits):
    write(tmp_path, rows, logits)

    timing = json.loads((tmp_path / "timing.json").read_bytes())
    assert timing == TIMING.to_json()
    assert (timing["samples_per_second"], timing["threads"], timing["torch_version"]) == (123.4, 2, "2.13.0")
    assert "123.4" not in (tmp_path / "statistics.json").read_text()


def test_equal_logits_give_equal_files(tmp_path, rows, logits):
    folders = [tmp_path / "first", tmp_path / "second"]
    for folder in folders:
        write(folder, rows, logits)

    first, second = (
        {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
        for folder in folders
    )
    assert first == second
    assert sorted(first) == [
        "plots/confusion_matrix.png",
        "plots/confusion_matrix.svg",
        "predictions.parquet",
        "statistics.json",
        "timing.json",
    ]
