"""How far two models say the same, label by label."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import cohen_kappa_score

from mlpipe.evaluation.agreement import mean_kappa


def unrelated(rows: int = 500) -> list[np.ndarray]:
    generator = np.random.default_rng(4)
    return [(generator.random((rows, 3)) < 0.4).astype(np.uint8) for _ in range(2)]


def test_labels_that_neither_model_predicts_do_not_make_them_agree():
    first, second = unrelated()
    wider = [np.pad(each, ((0, 0), (0, 27))) for each in (first, second)]
    assert mean_kappa(*wider) == mean_kappa(first, second) == pytest.approx(0.0, abs=0.1)


def test_a_label_that_one_of_two_models_predicts_counts():
    first, second = unrelated()
    first[:, 1] = 0
    expected = [cohen_kappa_score(first[:, 0], second[:, 0]), 0.0, cohen_kappa_score(first[:, 2], second[:, 2])]
    assert mean_kappa(first, second) == pytest.approx(np.mean(expected), abs=1e-12)


def test_models_that_predict_no_label_at_all_agree():
    nothing = np.zeros((4, 3), np.uint8)
    assert mean_kappa(nothing, nothing) == 1.0
