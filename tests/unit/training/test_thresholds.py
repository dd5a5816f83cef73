from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import f1_score

from mlpipe.training.thresholds import best_threshold, thresholds_of

CASES = st.lists(st.tuples(st.integers(0, 1), st.sampled_from([0.0, 0.1, 0.3, 0.5, 0.6, 0.9, 1.0])), min_size=1)


def f1_at(truth: np.ndarray, probabilities: np.ndarray, threshold: float) -> float:
    return float(f1_score(truth, probabilities >= threshold, zero_division=0))


@given(CASES)
def test_no_threshold_has_a_higher_f1(cases):
    truth, probabilities = np.array([y for y, _ in cases], np.uint8), np.array([p for _, p in cases])
    chosen = best_threshold(truth, probabilities)
    best = max(f1_at(truth, probabilities, limit) for limit in (0.0, 0.05, 0.2, 0.4, 0.5, 0.55, 0.7, 0.95, 1.1))
    assert f1_at(truth, probabilities, chosen) == pytest.approx(best) or not truth.any()


@pytest.mark.parametrize(
    ("truth", "probabilities", "expected"),
    [
        ([0, 0, 1, 1], [0.1, 0.2, 0.8, 0.9], 0.5),  # any between 0.2 and 0.8 is as good
        ([0, 0, 1, 1], [0.1, 0.2, 0.3, 0.4], 0.25),
        ([0, 0, 1, 1], [0.6, 0.7, 0.8, 0.9], 0.75),
        ([0, 0, 0], [0.6, 0.7, 0.8], 0.5),  # nothing is known of the label
        ([1, 1], [0.0, 0.0], 0.0),
    ],
)
def test_of_equally_good_thresholds_the_nearest_to_one_half_is_taken(truth, probabilities, expected):
    assert best_threshold(np.array(truth, np.uint8), np.array(probabilities)) == pytest.approx(expected)


def test_a_label_of_few_validation_rows_keeps_one_half_and_is_named(caplog):
    truth = np.array([[1, 1]] * 9 + [[1, 0]] + [[0, 0]] * 10, np.uint8)
    probabilities = np.where(truth, 0.2, 0.1)
    with caplog.at_level("INFO"):
        assert thresholds_of(["common", "rare"], truth, probabilities) == {"common": pytest.approx(0.15), "rare": 0.5}
    assert caplog.messages == ["threshold 0.5, for fewer than 10 validation rows have the label: rare"]
