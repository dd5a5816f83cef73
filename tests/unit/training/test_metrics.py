"""The validation metrics as `evaluate` modules."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mlpipe.training.metrics import MODULES, ValidationMetrics

NAMES = ("f1", "accuracy", "precision", "recall")


@pytest.fixture(scope="module")
def metrics() -> ValidationMetrics:
    return ValidationMetrics.load(NAMES)


def test_macro_averages_come_out_as_computed_by_hand(metrics: ValidationMetrics) -> None:
    truth, prediction = np.array([0, 0, 0, 1, 1, 2]), np.array([0, 0, 1, 1, 2, 2])
    scores = metrics.compute(truth, prediction, 3)
    assert scores == pytest.approx(
        {
            "f1": (4 / 5 + 1 / 2 + 2 / 3) / 3,
            "accuracy": 4 / 6,
            "precision": (1 + 1 / 2 + 1 / 2) / 3,
            "recall": (2 / 3 + 1 / 2 + 1) / 3,
        }
    )


def test_computing_twice_starts_anew(metrics: ValidationMetrics) -> None:
    wrong, right = np.array([1, 0]), np.array([0, 1])
    assert metrics.compute(right, wrong, 2)["accuracy"] == 0.0
    assert metrics.compute(right, right, 2)["accuracy"] == 1.0


def test_every_metric_that_settings_allow_has_a_module() -> None:
    assert {path.stem for path in Path(MODULES).glob("[a-z]*.py")} == set(NAMES)
