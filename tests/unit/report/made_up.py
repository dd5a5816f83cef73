"""Findings of runs that never were: of so many labels and models, with everything that a report can show."""

from __future__ import annotations

import random
from dataclasses import asdict
from typing import Any

import numpy as np

from mlpipe.evaluation.calibration import calibration
from mlpipe.evaluation.comparison import compare
from mlpipe.evaluation.statistics import Statistics, confusion_matrix
from mlpipe.report.findings import Mistake, ModelFindings, Row, RunFindings, Tuning

HOSTILE = "<script>document.title = 'taken'</script><img src=x onerror=alert(1)> & \"quoted\""

CASES = {"plan": "any batch, any length", "max_difference": 0.0, "cases": [{}, {}]}
SIGNATURE = {
    "model_name": "m",
    "inputs": [{"name": "input_ids", "dtype": "int64", "padding_value": 0, "ragged": True, "trailing_shape": []}],
}


def run_findings(num_labels: int = 3, num_models: int = 2, *, rows: int = 300, is_tuned: bool = False) -> RunFindings:
    """A run whose models are right four times out of five; one of its labels and one of its rows are hostile."""
    labels = (*(f"label-{number:03d}" for number in range(num_labels - 1)), "<b>&</b>")
    rng = np.random.default_rng(num_labels)
    truth = rng.integers(num_labels, size=rows)
    predictions = {
        f"model-{number}": np.where(rng.random(rows) < 0.8, truth, rng.integers(num_labels, size=rows))
        for number in range(num_models)
    }
    ids = [f"row-{number}" for number in range(rows)]
    compared = compare(truth, predictions, labels, seed=1, resamples=200, ids=ids)
    models = tuple(_model(name, labels, truth, found, is_tuned) for name, found in predictions.items())
    measured = [{"name": "the majority class", "margins": [], **_scores(models[0].statistics)}]
    comparison = {
        "snapshot": "abc",
        "test_sha256": "0" * 64,
        "models": [model.scores for model in models],
        "failed": [{"model_name": "broken", "error": f"it said {HOSTILE}", "error_class": "JobError"}],
        **compared.to_json(),
        "yardsticks": {"measured": measured, "skipped": {}, "verdict": "none"},
    }
    return RunFindings(
        experiment="made-up",
        run_num=4,
        location="/data/made-up/runs/4",
        committed="2026-01-02T03:04:05+00:00",
        snapshot="abc",
        test_openings=3,
        functions="f" * 64,
        settings_text=f"[EXPERIMENT]\nEXPERIMENT_NAME = {HOSTILE}\n",
        settings={
            "data": {"text_column": "text"},
            "hyperparameters": {model.name: {"epochs": 2} for model in models},
            "user_hyperparameters": {model.name: {"pooling": "<mean>"} for model in models},
            "sagemaker": None,
        },
        card=data_card(labels),
        comparison=comparison,
        jobs=({"name": "train-model-0", "ended": "2026-01-02T03:04:05+00:00", "seconds": 200.0, "threads": 2,
               "platform": "Linux", "versions": {"torch": "2.13.0"}},),
        cost_usd=None,
        models=models,
        rows={row_id: Row(row_id, HOSTILE) for row_id in ids},
    )  # fmt: skip


def data_card(labels: tuple[str, ...]) -> dict[str, Any]:
    """A snapshot with every kind of leak."""
    lengths = {"min": 1, "median": 5, "p95": 9, "max": 12}
    leak = {"near": 2, "identical": 1, "examples": []}
    return {
        "rows": {"train": 700, "validation": 100, "test": 200},
        "labels": {label: {"train": 10, "validation": 2, "test": 3} for label in labels},
        "labels_without_test_rows": [labels[0]],
        "encoded_lengths": {"model-0": {"train": lengths, "validation": lengths, "test": None}},
        "dropped_rows": {"identical_to_test": 1, "identical_to_validation": 0},
        "groups": {"key": "author", "count": 9, "across_splits": 2},
        "near_duplicates": {"column": "text", "threshold": 0.8, "leaks": {"test_in_train": leak}},
        "reconciled": {"rows": 1000, "duplicates_dropped": 7, "words": lengths, "characters": {"text": lengths}},
    }


def _scores(statistics: Any) -> dict[str, Any]:
    return {name: statistics[name] for name in ("accuracy", "macro_f1")}


def _model(name: str, labels: tuple[str, ...], truth: Any, predicted: Any, is_tuned: bool) -> ModelFindings:
    confusion = confusion_matrix(truth, predicted, len(labels))
    statistics = Statistics.from_confusion(confusion, labels, seed=1, resamples=200).to_json()
    found = asdict(calibration(np.linspace(0.1, 1.0, len(truth)), truth == predicted))
    scores = {"model_name": name, "num_rows": len(truth), **_scores(statistics), "calibration": found}
    history = tuple(
        {"epoch": epoch, "lr": 0.1, "train_loss": 1 / epoch, "validation_loss": 1.2 / epoch, "f1": 1 - 1 / (epoch + 1)}
        for epoch in (1, 2, 3)
    )
    return ModelFindings(
        name=name,
        location=f"/data/made-up/runs/4/models/{name}",
        scores={**scores, "weighted_f1": statistics["weighted_f1"]},
        statistics=statistics,
        metrics={"best_epoch": 2, "epochs_run": 3, "objective_metric_name": "f1", "rows": {"validation": 100}},
        timing={"samples_per_second": 1234.5, "latency_p99_ms": 3.25, "threads": 2},
        signature=SIGNATURE,
        parity=CASES,
        history=history,
        labels=labels,
        confusion=confusion,
        mistakes=(Mistake(Row("row-1", HOSTILE), labels[0], labels[-1], 0.97),),
        model_bytes=12_345_678,
        num_parameters=3_000_000,
        training_seconds=200.0,
        training_usd=None,
        tuning=tuning() if is_tuned else None,
    )


def tuning() -> Tuning:
    """Twelve trials of two hyperparameters: most completed, some stopped early, one failed."""
    generator = random.Random(5)
    trials = []
    for number in range(1, 13):
        state = "Failed" if number == 5 else "Stopped" if number % 4 == 0 else "Completed"
        curve = [] if state == "Failed" else [generator.random() for _ in range(2 if state == "Stopped" else 4)]
        rate = f"{10 ** generator.uniform(-5, -3):.3g}"
        trials.append({
            "number": number, "name": f"t-{number}", "state": state, "curve": curve, "seconds": 1.5,
            "objective": curve[-1] if curve else None,
            "hyperparameters": {"learning_rate": rate, "batch_size": generator.choice(["16", "32"])},
        })  # fmt: skip
    best = max((trial for trial in trials if trial["state"] == "Completed"), key=lambda trial: trial["objective"])
    space = {"learning_rate": "1e-5 -> 1e-3 log", "batch_size": "16, 32"}
    document = {"trial": best["number"], "objective_name": "f1", "objective": best["objective"], "space": space}
    return Tuning({**document, "strategy": "Bayesian", "hyperparameters": best["hyperparameters"]}, tuple(trials))
