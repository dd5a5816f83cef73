"""Multi-label scores, against scikit-learn's."""

from __future__ import annotations

from dataclasses import asdict

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn.metrics import (
    accuracy_score,
    cohen_kappa_score,
    f1_score,
    hamming_loss,
    multilabel_confusion_matrix,
    precision_score,
    recall_score,
)

from mlpipe.errors import DataError
from mlpipe.evaluation.comparison import compare
from mlpipe.evaluation.multi_label import multi_label_statistics, score
from mlpipe.evaluation.resampling import paired_differences
from mlpipe.evaluation.yardsticks import measure
from mlpipe.settings.multi_label import MULTI_LABEL_METRICS

LABELS = ("a", "b", "c", "d")
THRESHOLDS = dict(zip(LABELS, (0.5, 0.25, 0.75, 0.5), strict=True))
INDICATORS = st.integers(1, 30).flatmap(
    lambda rows: st.tuples(*[arrays(np.uint8, (rows, 4), elements=st.integers(0, 1)) for _ in range(2)])
)


def drawn(rows: int, seed: int, share: float = 0.3) -> np.ndarray:
    return (np.random.default_rng(seed).random((rows, 4)) < share).astype(np.uint8)


def flipped(truth: np.ndarray, share: float, seed: int) -> np.ndarray:
    """Predictions with so many wrong decisions."""
    return truth ^ (np.random.default_rng(seed).random(truth.shape) < share)


def expected(name: str, truth: np.ndarray, predicted: np.ndarray) -> float:
    if name == "accuracy":
        return float(accuracy_score(truth, predicted))
    kind, _, average = name.partition("_")
    function = {"f1": f1_score, "precision": precision_score, "recall": recall_score}[kind]
    occurring = np.flatnonzero((truth + predicted).any(axis=0))
    if not len(occurring):
        return 0.0
    return float(function(truth, predicted, average=average or "macro", labels=occurring, zero_division=0))


@given(INDICATORS)
def test_every_metric_is_that_of_scikit_learn(pair):
    for name in MULTI_LABEL_METRICS:
        assert score(name, *pair) == pytest.approx(expected(name, *pair), abs=1e-12), name


def test_the_statistics_are_those_of_scikit_learn():
    truth = drawn(200, 1)
    predicted = flipped(truth, 0.15, 2)
    found = multi_label_statistics(truth, predicted, LABELS, THRESHOLDS, seed=3, resamples=500)
    assert found.num_rows == 200
    assert found.accuracy.value == pytest.approx(accuracy_score(truth, predicted), abs=1e-12)
    assert found.hamming_loss == pytest.approx(hamming_loss(truth, predicted), abs=1e-12)
    for estimate, average in ((found.macro_f1, "macro"), (found.micro_f1, "micro"), (found.weighted_f1, "weighted")):
        assert estimate.value == pytest.approx(f1_score(truth, predicted, average=average), abs=1e-12)
        assert estimate.low < estimate.value < estimate.high
    matrices = dict(zip(LABELS, multilabel_confusion_matrix(truth, predicted), strict=True))
    for label in found.per_label:
        (true_negatives, false_positives), (false_negatives, hits) = matrices[label.label]
        assert label.hits == hits
        assert label.support == hits + false_negatives
        assert label.predicted == hits + false_positives
        assert label.accuracy == pytest.approx((hits + true_negatives) / 200, abs=1e-12)
        assert label.threshold == THRESHOLDS[label.label]
    assert [label.f1 for label in found.per_label] == sorted((label.f1 for label in found.per_label), reverse=True)
    assert found.to_json()["task_type"] == "multi_label"


def test_equal_rows_give_equal_statistics_and_no_rows_none():
    truth = drawn(50, 1)
    one, other = (
        multi_label_statistics(truth, flipped(truth, 0.2, 2), LABELS, THRESHOLDS, seed=3, resamples=100)
        for _ in range(2)
    )
    assert asdict(one) == asdict(other)
    with pytest.raises(DataError, match="no rows to score"):
        multi_label_statistics(truth[:0], truth[:0], LABELS, THRESHOLDS, seed=3)
    with pytest.raises(DataError, match="do not go with predictions of shape"):
        score("f1", truth, truth[:, :2])


def test_intervals_cover_the_truth_as_often_as_they_say():
    covered = 0
    for seed in range(200):
        truth = drawn(300, 2 * seed)
        predicted = flipped(truth, 0.1, 2 * seed + 1)
        accuracy = multi_label_statistics(truth, predicted, LABELS, THRESHOLDS, seed=seed, resamples=300).accuracy
        covered += accuracy.low <= 0.9**4 <= accuracy.high
    assert 0.90 <= covered / 200 <= 0.985


def test_differences_of_multi_label_models_are_those_of_their_scores():
    truth = drawn(150, 1)
    models = [flipped(truth, 0.1, 2), flipped(truth, 0.3, 3)]
    (found,) = paired_differences(truth, models, [(0, 1)], 4, seed=1, resamples=400)
    accuracies = [accuracy_score(truth, model) for model in models]
    assert found.accuracy.value == pytest.approx(accuracies[0] - accuracies[1], abs=1e-12)
    scores = [f1_score(truth, model, average="macro") for model in models]
    assert found.macro_f1.value == pytest.approx(scores[0] - scores[1], abs=1e-12)
    each = [f1_score(truth, model, average=None) for model in models]
    assert [estimate.value for estimate in found.f1] == pytest.approx(each[0] - each[1], abs=1e-12)
    assert found.accuracy.low > 0


def test_models_are_compared_by_the_rows_that_they_have_right_altogether():
    truth = drawn(200, 1)
    models = {"good": flipped(truth, 0.05, 2), "bad": flipped(truth, 0.3, 3)}
    (pair,) = compare(truth, models, LABELS, seed=1, resamples=200).pairs
    right = {name: (model == truth).all(axis=1) for name, model in models.items()}
    assert pair.mcnemar.only_first == int((right["good"] & ~right["bad"]).sum())
    kappas = [cohen_kappa_score(models["good"][:, at], models["bad"][:, at]) for at in range(4)]
    assert pair.kappa == pytest.approx(np.mean(kappas), abs=1e-12)
    assert pair.disagreements == int((models["good"] != models["bad"]).any(axis=1).sum())
    assert pair.is_different
    row = pair.examples[0]
    named = [", ".join(LABELS[at] for at in np.flatnonzero(truth[int(row.row_id)])) or "(none)"]
    assert [row.truth] == named


def test_a_yardstick_is_measured_on_whole_rows():
    truth = drawn(100, 1)
    constant = np.tile(np.array([1, 0, 0, 0], dtype=np.uint8), (100, 1))
    model = flipped(truth, 0.02, 5)
    found = measure("always a", truth, constant, {"m": model}, 4, seed=1, resamples=200)
    assert found.accuracy.value == pytest.approx(accuracy_score(truth, constant), abs=1e-12)
    assert found.margins[0].not_beaten == {}
