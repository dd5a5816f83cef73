from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from sklearn import metrics

from mlpipe.errors import DataError
from mlpipe.evaluation import statistics
from mlpipe.evaluation.statistics import (
    Estimate,
    Scores,
    Statistics,
    accuracy,
    bootstrap_intervals,
    confusion_matrix,
    f1,
    precision,
    recall,
)

confusions = (
    st.integers(1, 7)
    .flatmap(lambda size: hnp.arrays(np.int64, (size, size), elements=st.sampled_from([0, 0, 1, 2, 5, 40])))
    .filter(lambda counts: counts.sum() > 0)
)


def rows_of(confusion: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Truth and prediction of every row that a confusion matrix counts."""
    truth, prediction = np.nonzero(confusion)
    counts = confusion[truth, prediction]
    return np.repeat(truth, counts), np.repeat(prediction, counts)


def noisy_rows(count: int, num_labels: int, *, error: float = 0.2, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, num_labels, count)
    return truth, np.where(rng.random(count) < error, rng.integers(0, num_labels, count), truth)


def names(count: int) -> list[str]:
    return [f"label {i}" for i in range(count)]


@given(confusions)
def test_the_confusion_matrix_of_its_own_rows_is_itself(confusion):
    assert np.array_equal(confusion_matrix(*rows_of(confusion), len(confusion)), confusion)
    assert confusion_matrix(*rows_of(confusion), len(confusion)).dtype == np.int64


@given(confusions)
def test_per_label_scores_are_those_of_scikit_learn(confusion):
    truth, prediction = rows_of(confusion)
    classes = np.arange(len(confusion))
    scores = Scores.from_confusion(confusion)
    expected = metrics.precision_recall_fscore_support(truth, prediction, labels=classes, zero_division=0)

    np.testing.assert_allclose(scores.precision, expected[0], atol=1e-12)
    np.testing.assert_allclose(scores.recall, expected[1], atol=1e-12)
    np.testing.assert_allclose(scores.f1, expected[2], atol=1e-12)
    np.testing.assert_array_equal(scores.support, expected[3])
    np.testing.assert_array_equal(scores.predicted, np.bincount(prediction, minlength=len(classes)))
    one_vs_rest = [metrics.accuracy_score(truth == label, prediction == label) for label in classes]
    np.testing.assert_allclose(scores.label_accuracy, one_vs_rest, atol=1e-12)


@given(confusions)
def test_overall_scores_are_those_of_scikit_learn(confusion):
    truth, prediction = rows_of(confusion)
    found = Statistics.from_confusion(confusion, names(len(confusion)), seed=1, resamples=100)
    macro = metrics.precision_recall_fscore_support(truth, prediction, average="macro", zero_division=0)
    weighted = metrics.precision_recall_fscore_support(truth, prediction, average="weighted", zero_division=0)

    got = [found.macro_precision, found.macro_recall, found.macro_f1.value]
    assert got == pytest.approx(macro[:3], abs=1e-12)
    assert [found.weighted_precision, found.weighted_recall, found.weighted_f1.value] == pytest.approx(
        weighted[:3], abs=1e-12
    )
    assert found.accuracy.value == pytest.approx(metrics.accuracy_score(truth, prediction), abs=1e-12)
    assert found.num_rows == len(truth)
    assert [accuracy(truth, prediction, 7), f1(truth, prediction, 7)] == [found.accuracy.value, found.macro_f1.value]
    assert [precision(truth, prediction, 7), recall(truth, prediction, 7)] == pytest.approx(got[:2], abs=1e-12)


def test_scores_of_many_matrices_at_once_are_those_of_each_alone():
    confusion = np.random.default_rng(0).integers(0, 9, (4, 3, 5, 5))
    together = Scores.from_confusion(confusion)

    for at in np.ndindex(4, 3):
        alone = Scores.from_confusion(confusion[at])
        np.testing.assert_array_equal(together.f1[at], alone.f1)
        assert together.macro(together.f1)[at] == alone.macro(alone.f1)
        assert together.weighted(together.precision)[at] == alone.weighted(alone.precision)
        assert together.accuracy[at] == alone.accuracy


def test_a_label_that_occurs_nowhere_is_scored_zero_and_left_out_of_the_macro_average():
    found = Statistics.from_confusion(np.diag([3, 0, 5]), names(3), seed=1, resamples=100)

    assert found.macro_f1 == Estimate(1.0, 1.0, 1.0)
    absent = found.per_label[-1]
    assert (absent.label, absent.f1, absent.precision, absent.support, absent.predicted) == ("label 1", 0, 0, 0, 0)
    assert absent.accuracy == 1.0


def test_labels_are_sorted_by_f1_and_equal_ones_by_name():
    found = Statistics.from_confusion(np.array([[4, 0, 0], [0, 1, 1], [0, 0, 4]]), ["zebra", "bee", "ant"], seed=1)
    assert [entry.label for entry in found.per_label] == ["zebra", "ant", "bee"]

    equal = Statistics.from_confusion(np.diag([1, 1, 1]), ["zebra", "bee", "ant"], seed=1)
    assert [entry.label for entry in equal.per_label] == ["ant", "bee", "zebra"]


def test_equal_statistics_are_the_same_json_byte_for_byte():
    confusion = confusion_matrix(*noisy_rows(200, 5), 5)
    found = Statistics.from_confusion(confusion, names(5), seed=7)
    text = json.dumps(found.to_json(), allow_nan=False)

    assert json.dumps(Statistics.from_confusion(confusion, names(5), seed=7).to_json()) == text


@pytest.mark.parametrize(("values", "row"), [([0, 1, 3], 2), ([0, -1, 2], 1)])
def test_a_class_index_outside_the_labels_is_named_with_its_row(values, row):
    with pytest.raises(DataError, match=f"row {row} has class index {values[row]}, .* 3 labels"):
        confusion_matrix(values, [0, 1, 2], 3)


def test_truth_and_prediction_of_different_length_are_refused():
    with pytest.raises(DataError, match="3 true labels do not go with 2 predictions"):
        confusion_matrix([0, 1, 2], [0, 1], 3)


def test_no_rows_at_all_cannot_be_scored():
    with pytest.raises(DataError, match="no rows to score"):
        Statistics.from_confusion(np.zeros((3, 3), np.int64), names(3), seed=1)


@pytest.mark.parametrize("num_labels", [2, 14, 150])
def test_intervals_contain_the_score_and_are_not_empty(num_labels):
    confusion = confusion_matrix(*noisy_rows(3000, num_labels), num_labels)
    found = Statistics.from_confusion(confusion, names(num_labels), seed=3, resamples=1000)

    for estimate in (found.accuracy, found.macro_f1, found.weighted_f1):
        assert 0 <= estimate.low < estimate.value < estimate.high <= 1


def test_intervals_shrink_with_the_square_root_of_the_rows():
    confusion = confusion_matrix(*noisy_rows(400, 4), 4)
    few = bootstrap_intervals(confusion, seed=1)
    many = bootstrap_intervals(16 * confusion, seed=1)

    for name, (low, high) in few.items():
        assert (high - low) / (many[name][1] - many[name][0]) == pytest.approx(4, rel=0.1)


def test_intervals_depend_on_the_seed_alone(monkeypatch):
    confusion = confusion_matrix(*noisy_rows(150, 6), 6)
    found = bootstrap_intervals(confusion, seed=5, resamples=500)

    assert bootstrap_intervals(confusion, seed=5, resamples=500) == found
    assert bootstrap_intervals(confusion, seed=6, resamples=500) != found
    monkeypatch.setattr(statistics, "CHUNK_CELLS", 1000)
    assert bootstrap_intervals(confusion, seed=5, resamples=500) == found


def test_intervals_agree_with_a_bootstrap_that_draws_rows():
    num_labels, resamples = 5, 4000
    # Ten rows of label 4 in 120: in some resamples it is hardly there, which is where shortcuts would differ.
    truth, prediction = noisy_rows(120, num_labels, error=0.3, seed=2)
    truth[:10] = 4
    drawn = np.random.default_rng(9).integers(0, len(truth), (resamples, len(truth)))
    by_rows = Scores.from_confusion(
        np.stack([confusion_matrix(truth[rows], prediction[rows], num_labels) for rows in drawn])
    )
    expected = {
        "accuracy": by_rows.accuracy,
        "macro_f1": by_rows.macro(by_rows.f1),
        "weighted_f1": by_rows.weighted(by_rows.f1),
    }

    found = bootstrap_intervals(confusion_matrix(truth, prediction, num_labels), seed=1, resamples=resamples)

    for name, samples in expected.items():
        # The standard error of such a quantile is below 0.003 here: sqrt(q (1 - q) / resamples) / density.
        np.testing.assert_allclose(found[name], np.quantile(samples, [0.025, 0.975]), atol=0.012)
