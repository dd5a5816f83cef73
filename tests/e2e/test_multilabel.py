"""Rows with several labels, all the way from the rows to the report."""

from __future__ import annotations

import csv
import json
import random
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from e2e.project import WORDS, Project, make_project
from sklearn.metrics import f1_score

import mlpipe

SEVERAL = """

def reconcile(settings):
    with Path(settings.user["CSV"]).open(newline="") as file:
        for row in csv.DictReader(file):
            yield {"text": row["text"], "label": row["label"].split()}
"""


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Project, str]:
    """A folder in which `mlpipe run` has made run 1 of rows with any number of labels, and what that printed."""
    project = make_project(tmp_path_factory.mktemp("multilabel") / "project")
    generator = random.Random(4)
    rows = {}
    while len(rows) < 300:
        labels = [label for label in WORDS if generator.random() < 0.4]
        words = [word for label in labels for word in generator.choices(WORDS[label], k=2)] + ["of", "the"]
        generator.shuffle(words)
        rows[" ".join(words)] = " ".join(labels)
    with (project.folder / "texts.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("text", "label"), *sorted(rows.items())])
    functions = project.folder / "functions.py"
    functions.write_text(functions.read_text() + SEVERAL)
    project.edit("settings.ini", "EPOCHS = 2", "EPOCHS = 12")
    return project, project.mlpipe("run", "settings.ini").stdout


def indicators(column: list[list[str]]) -> np.ndarray:
    return np.array([[label in row for label in sorted(WORDS)] for row in column])


def test_a_run_ends_with_scores_thresholds_and_a_report(finished: tuple[Project, str]):
    project, printed = finished
    assert "run 1 (committed)" in printed
    assert "yardstick: the linear model on words" in printed
    card = json.loads(next(project.tree.glob("data/prepared/*/data_card.json")).read_text())
    assert card["task_type"] == "multi_label"
    assert card["rows"]["train"] + card["rows"]["validation"] + card["rows"]["test"] == 300
    for name in ("small", "large"):
        inference = project.run / "inference" / name
        statistics = json.loads((inference / "statistics.json").read_text())
        table = pq.read_table(inference / "predictions.parquet")
        truth, predicted = (indicators(table[column].to_pylist()) for column in ("truth", "prediction"))
        assert statistics["task_type"] == "multi_label"
        assert statistics["macro_f1"]["value"] == pytest.approx(f1_score(truth, predicted, average="macro"), abs=1e-12)
        assert statistics["macro_f1"]["value"] > 0.8, "the words decide"
        thresholds = json.loads((project.run / "models" / name / "thresholds.json").read_text())
        assert set(thresholds) == set(WORDS)
        for label, limit in thresholds.items():
            said = [label in row for row in table["prediction"].to_pylist()]
            assert said == [p >= limit for p in table[f"probability_{label}"].to_numpy().astype(float)]
    comparison = json.loads((project.run / "comparison.json").read_text())
    assert len(comparison["pairs"]) == 1
    page = (project.run / "report.html").read_text()
    assert "Hamming loss" in page
    assert "any number of 3 labels" in (project.run / "model_card.small.md").read_text()


def test_it_is_verified_shown_and_compared(finished: tuple[Project, str]):
    project, _ = finished
    assert "run 1 verified" in project.mlpipe("infer", "--run-num", "1").stdout
    assert json.loads(project.mlpipe("show", "1", "--json").stdout)["models"]["small"]["signature"]["task_type"] == (
        "multi_label"
    )
    assert "McNemar" in project.mlpipe("compare", "1").stdout


def test_a_predictor_gives_every_label_that_reaches_its_threshold(
    finished: tuple[Project, str], monkeypatch: pytest.MonkeyPatch
):
    project, _ = finished
    monkeypatch.chdir(project.folder)
    predictor = mlpipe.load_model(project.run / "models" / "large")
    table = pq.read_table(project.run / "inference" / "large" / "predictions.parquet")
    with Path("texts.csv").open(newline="") as file:
        texts = {row["text"]: set(row["label"].split()) for row in csv.DictReader(file)}
    found = predictor.predict(list(texts))
    right = sum({label for label, _ in labels} == texts[text] for text, labels in zip(texts, found, strict=True))
    assert right / len(texts) > 0.7
    assert all(labels == sorted(labels, key=lambda pair: -pair[1]) for labels in found)
    assert predictor.probabilities(list(texts)[:5]).shape == (5, 3)
    assert len(table) == 60


@pytest.mark.parametrize(
    ("setting", "problem"),
    [
        ("training.metrics=f1, mcc, hub:f1", "[TRAINING] METRICS: mcc, METRICS: hub:f1: there is no form"),
        ("training.class_weights=balanced", "[TRAINING] CLASS_WEIGHTS = balanced: there is no form"),
    ],
)
def test_what_has_no_multi_label_form_is_refused(finished: tuple[Project, str], setting: str, problem: str):
    done = finished[0].mlpipe("train", "--new", "--set", setting, code=2)
    assert problem in done.stderr
    assert "train-small" not in done.stderr, "no job was started"
    assert problem in finished[0].mlpipe("run", "--new", "--dry-run", "--set", setting, code=2).stderr
