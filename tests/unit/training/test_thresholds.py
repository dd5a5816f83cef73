from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st
from sklearn.metrics import f1_score

from mlpipe.inference.engine import sigmoid
from mlpipe.inference.results import above_thresholds
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


def test_probabilities_that_inference_cannot_tell_apart_are_not_parted():
    truth, logits = np.repeat([0, 1], 10).astype(np.uint8), np.repeat([17.5, 18.0, 18.5, 19.0], 5)
    assert best_threshold(truth, 1 / (1 + np.exp(-logits))) == 0.5


@given(st.lists(st.tuples(st.integers(0, 1), st.integers(-40, 40)), min_size=1))
@example([(0, 33), (1, 34)])  # 16.5 and 17: apart as float64, and as float32 both below the middle of those
def test_no_threshold_has_a_higher_f1_in_inference(cases):
    truth = np.array([y for y, _ in cases], np.uint8)
    logits = np.array([[half / 2] for _, half in cases], np.float32)
    chosen = best_threshold(truth, torch.from_numpy(logits).double().sigmoid().numpy()[:, 0])
    probabilities = sigmoid(logits)

    def f1_with(limit: float) -> float:
        predicted = above_thresholds(probabilities, ["a"], {"a": limit})[:, 0]
        return float(f1_score(truth, predicted, zero_division=0))

    assert not truth.any() or f1_with(chosen) == pytest.approx(max(map(f1_with, probabilities[:, 0].tolist())))


@pytest.mark.parametrize("steps", [0, 1])
def test_of_two_neighbouring_probabilities_the_higher_one_alone_reaches_the_threshold(steps):
    low = np.float32(0.7) + np.float32(2**-24) * np.float32(steps)
    high = np.nextafter(low, np.float32(1))
    chosen = best_threshold(np.array([0, 1], np.uint8), np.array([low, high]))
    assert above_thresholds(np.array([[low], [high]]), ["a"], {"a": chosen}).tolist() == [[0], [1]]


def test_a_label_of_few_validation_rows_keeps_one_half_and_is_named(caplog):
    truth = np.array([[1, 1]] * 9 + [[1, 0]] + [[0, 0]] * 10, np.uint8)
    probabilities = np.where(truth, 0.2, 0.1)
    with caplog.at_level("INFO"):
        assert thresholds_of(["common", "rare"], truth, probabilities) == {"common": pytest.approx(0.15), "rare": 0.5}
    assert caplog.messages == ["threshold 0.5, for fewer than 10 validation rows have the label: rare"]
