"""Models side by side: differences with intervals that hold what they promise, and words that follow from them."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.metrics import cohen_kappa_score, f1_score

from mlpipe.errors import DataError
from mlpipe.evaluation.agreement import cohens_kappa
from mlpipe.evaluation.calibration import calibration
from mlpipe.evaluation.comparison import NAMED_ROWS, Apart, compare
from mlpipe.evaluation.resampling import paired_differences
from mlpipe.evaluation.statistics import Scores, bootstrap_intervals, confusion_matrix

LABELS = ("a", "b", "c", "d", "e")


def model(truth: NDArray[np.int64], accuracy: float, generator: np.random.Generator) -> NDArray[np.int64]:
    """Predictions that are right with this probability, and otherwise any other label."""
    others = (truth + generator.integers(1, len(LABELS), len(truth))) % len(LABELS)
    return np.where(generator.random(len(truth)) < accuracy, truth, others)


@pytest.fixture
def drawn() -> tuple[NDArray[np.int64], dict[str, NDArray[np.int64]]]:
    generator = np.random.default_rng(1)
    truth = generator.integers(0, 5, 800)
    return truth, {name: model(truth, value, generator) for name, value in {"x": 0.9, "y": 0.88, "z": 0.6}.items()}


def test_differences_are_those_of_the_scores_and_agreement_is_sklearns(drawn):
    truth, predictions = drawn
    found = compare(truth, predictions, LABELS, seed=3, resamples=500)
    assert [(pair.first, pair.second) for pair in found.pairs] == [("x", "y"), ("x", "z"), ("y", "z")]
    for pair in found.pairs:
        first, second = predictions[pair.first], predictions[pair.second]
        accuracy = (first == truth).mean() - (second == truth).mean()
        assert pair.accuracy_difference.value == pytest.approx(accuracy, abs=1e-12)
        f1 = [f1_score(truth, each, average="macro") for each in (first, second)]
        assert pair.macro_f1_difference.value == pytest.approx(f1[0] - f1[1], abs=1e-12)
        assert pair.kappa == pytest.approx(cohen_kappa_score(first, second), abs=1e-12)
        assert pair.disagreements == (first != second).sum()
        per_label = [f1_score(truth, each, average=None) for each in (first, second)]
        expected = dict(zip(LABELS, per_label[0] - per_label[1], strict=True))
        assert {label: entry.value for label, entry in pair.per_label_f1.items()} == pytest.approx(expected, abs=1e-12)
        for estimate in (pair.accuracy_difference, pair.macro_f1_difference, *pair.per_label_f1.values()):
            assert estimate.low <= estimate.value <= estimate.high


def test_the_conclusion_says_what_differs_and_what_is_not_known(drawn):
    truth, predictions = drawn
    conclusion = compare(truth, predictions, LABELS, seed=3, resamples=500).conclusion
    assert "x and z differ in accuracy by +" in conclusion
    assert "These rows do not tell x and y apart, which does not show that they are equally good." in conclusion


def test_many_models_that_rows_do_not_tell_apart_are_one_sentence():
    truth = np.tile(np.arange(5), 40)
    alike = {name: model(truth, 0.8, np.random.default_rng(seed)) for seed, name in enumerate("abcd")}
    assert compare(truth, alike, LABELS, seed=1, resamples=200).conclusion.startswith(
        "These rows do not tell any two of the 4 models apart, which does not show that they are equally good."
    )


def test_a_pair_is_drawn_together():
    """Two models that differ in one row alone: the interval of the difference is far narrower than either's own."""
    truth = np.tile(np.arange(5), 60)
    first = model(truth, 0.8, np.random.default_rng(2))
    second = first.copy()
    second[0] = (first[0] + 1) % 5
    [found] = paired_differences(truth, [first, second], [(0, 1)], 5, seed=1, resamples=2_000)
    difference = found.accuracy
    alone = bootstrap_intervals(confusion_matrix(truth, first, 5), seed=1, resamples=2_000)["accuracy"]
    assert difference.high - difference.low < 0.2 * (alone[1] - alone[0])


def test_equal_arguments_give_equal_results_and_one_model_has_no_pair(drawn):
    truth, predictions = drawn
    one, other = (compare(truth, predictions, LABELS, seed=3, resamples=200).to_json() for _ in range(2))
    assert one == other
    alone = compare(truth, {"x": predictions["x"]}, LABELS, seed=3, resamples=200)
    assert alone.pairs == ()
    assert alone.cochran_q is None
    assert "stands alone" in alone.conclusion


def test_predictions_of_other_rows_are_refused(drawn):
    truth, predictions = drawn
    with pytest.raises(DataError, match="y has 799 predictions for 800 rows"):
        compare(truth, {"x": predictions["x"], "y": predictions["y"][1:]}, LABELS, seed=3)
    with pytest.raises(DataError, match="no rows"):
        compare(truth[:0], {"x": truth[:0]}, LABELS, seed=3)


def test_intervals_cover_the_truth_about_as_often_as_they_promise():
    """1,000 draws of 1,000 rows of 5 classes: of 95 % intervals, 93 to 97 % have to hold the value they estimate."""
    generator = np.random.default_rng(11)
    cells = np.full((5, 5), 0.03) + np.diag([0.1, 0.12, 0.05, 0.08, 0.1])
    cells /= cells.sum()
    scores = Scores.from_confusion(cells)
    true = {"accuracy": float(scores.accuracy), "macro_f1": float(scores.macro(scores.f1))}
    held = dict.fromkeys(true, 0)
    for seed in range(1_000):
        confusion = generator.multinomial(1_000, cells.ravel()).reshape(5, 5)
        intervals = bootstrap_intervals(confusion, seed=seed, resamples=1_000)
        for name, value in true.items():
            held[name] += intervals[name][0] <= value <= intervals[name][1]
    assert all(930 <= count <= 970 for count in held.values()), held


def test_models_that_always_say_the_same_agree():
    assert cohens_kappa([1, 1, 1], [1, 1, 1], 3) == 1.0


def test_calibration_is_the_mean_gap_of_the_bins():
    confidence = np.array([0.55, 0.58, 0.95, 0.97, 1.0, 0.0])
    is_right = np.array([True, False, True, True, True, False])
    found = calibration(confidence, is_right, bins=10)
    expected = (2 * abs(0.5 - 0.565) + 3 * abs(1.0 - (0.95 + 0.97 + 1.0) / 3) + 1 * abs(0.0 - 0.0)) / 6
    assert found.expected_error == pytest.approx(expected, abs=1e-12)
    assert [(each.low, each.rows) for each in found.bins] == [
        (0.0, 1),
        (pytest.approx(0.5), 2),
        (pytest.approx(0.9), 3),
    ]


def test_the_rows_on_which_two_models_differ_are_named_those_that_one_has_right_first():
    truth, first, second = np.array([0, 1, 2, 3]), np.array([1, 1, 2, 4]), np.array([2, 1, 0, 3])
    ids = ["p", "q", "r", "s"]
    (pair,) = compare(truth, {"x": first, "y": second}, LABELS, seed=3, resamples=200, ids=ids).pairs
    assert pair.examples == (Apart("r", "c", "c", "a"), Apart("s", "d", "e", "d"), Apart("p", "a", "b", "c"))
    (numbered,) = compare(truth, {"x": first, "y": second}, LABELS, seed=3, resamples=200).pairs
    assert [each.row_id for each in numbered.examples] == ["2", "3", "0"]


def test_of_many_rows_on_which_two_models_differ_only_the_first_are_named(drawn):
    truth, predictions = drawn
    for pair in compare(truth, predictions, LABELS, seed=3, resamples=200).pairs:
        assert pair.disagreements > len(pair.examples) == NAMED_ROWS
