"""What a model has to beat: by how much it does, and that it is said where it does not."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, f1_score

from mlpipe.evaluation.yardsticks import measure, verdict


@pytest.fixture
def truth() -> np.ndarray:
    return np.random.default_rng(4).choice(3, 600, p=[0.6, 0.3, 0.1])


def right_in(truth: np.ndarray, share: float, seed: int) -> np.ndarray:
    generator = np.random.default_rng(seed)
    return np.where(generator.random(len(truth)) < share, truth, (truth + generator.integers(1, 3, len(truth))) % 3)


def measured(truth: np.ndarray, models: dict[str, np.ndarray]):
    return measure("the majority class", truth, np.zeros_like(truth), models, 3, seed=1, resamples=2_000)


def test_scores_and_differences_are_sklearns(truth):
    model = right_in(truth, 0.8, 1)
    found = measured(truth, {"m": model})
    assert found.accuracy.value == pytest.approx(accuracy_score(truth, np.zeros_like(truth)), abs=1e-12)
    own = f1_score(truth, np.zeros_like(truth), average="macro", zero_division=0)
    assert found.macro_f1.value == pytest.approx(own, abs=1e-12)
    (margin,) = found.margins
    assert margin.accuracy_difference.value == pytest.approx(accuracy_score(truth, model) - found.accuracy.value)
    assert margin.macro_f1_difference.value == pytest.approx(f1_score(truth, model, average="macro") - own)
    assert found.accuracy.low < found.accuracy.value < found.accuracy.high


def test_a_model_that_beats_a_yardstick_is_said_to(truth):
    found = measured(truth, {"good": right_in(truth, 0.9, 1)})
    assert found.margins[0].not_beaten == {}
    assert verdict([found]) == "Every model beats the majority class in accuracy and macro F1."


def test_a_model_that_does_not_beat_it_is_named_with_the_score_and_the_interval(truth):
    found = measured(truth, {"good": right_in(truth, 0.9, 1), "bad": right_in(truth, 0.61, 2)})
    said = verdict([found])
    assert said.startswith("bad is not seen to beat the majority class in accuracy (")
    assert "good" not in said
    assert "macro F1" not in said  # a model that knows three labels beats one that says one
    assert "points [" in said


def test_a_model_that_says_the_majority_beats_nothing(truth):
    found = measured(truth, {"lazy": np.zeros_like(truth)})
    assert list(found.margins[0].not_beaten) == ["accuracy", "macro F1"]
    assert "accuracy (+0.0 points [+0.0, +0.0]) and macro F1 (+0.0 points [+0.0, +0.0])." in verdict([found])


def test_a_model_that_does_worse_is_said_to(truth):
    found = measured(truth, {"bad": right_in(truth, 0.2, 1)})
    assert verdict([found]).startswith("bad does worse than the majority class in accuracy (-")
