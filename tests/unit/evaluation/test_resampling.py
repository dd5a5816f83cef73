"""The paired bootstrap against one that draws row by row, whatever rows are alike."""

from __future__ import annotations

import itertools
import tracemalloc

import numpy as np
import pytest
from sklearn.metrics import f1_score

from mlpipe.evaluation import resampling
from mlpipe.evaluation.resampling import JudgedRows, paired_differences

RESAMPLES = 4_000


def models(num_labels: int, rows: int = 300) -> tuple[np.ndarray, list[np.ndarray]]:
    generator = np.random.default_rng(num_labels)
    truth = generator.integers(0, num_labels, rows)
    noise = [generator.integers(0, num_labels, rows) for _ in range(3)]
    return truth, [
        np.where(generator.random(rows) < share, truth, wrong)
        for share, wrong in zip((0.9, 0.8, 0.6), noise, strict=True)
    ]


def drawn_row_by_row(truth: np.ndarray, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """2.5 % and 97.5 % quantiles of the differences of accuracy and macro F1."""
    generator, found = np.random.default_rng(9), []
    for _ in range(1_000):
        rows = generator.integers(0, len(truth), len(truth))
        scores = [
            ((each[rows] == truth[rows]).mean(), f1_score(truth[rows], each[rows], average="macro", zero_division=0))
            for each in (first, second)
        ]
        found.append(np.subtract(*scores))
    return np.quantile(found, [0.025, 0.975], axis=0)


@pytest.mark.parametrize("frequent", [1, 16, 10_000])
def test_intervals_are_those_of_rows_drawn_one_by_one(monkeypatch, frequent):
    monkeypatch.setattr(resampling, "FREQUENT", frequent)
    truth, predictions = models(4)
    pairs = [(0, 1), (2, 0)]
    for (first, second), found in zip(
        pairs, paired_differences(truth, predictions, pairs, 4, seed=3, resamples=RESAMPLES), strict=True
    ):
        expected = drawn_row_by_row(truth, predictions[first], predictions[second])
        got = [[found.accuracy.low, found.macro_f1.low], [found.accuracy.high, found.macro_f1.high]]
        np.testing.assert_allclose(got, expected, atol=0.012)


@pytest.mark.parametrize("frequent", [1, 16, 10_000])
def test_a_difference_spreads_as_theory_says(monkeypatch, frequent):
    """The variance of a difference of accuracies is that of the rows' own differences, divided by their number."""
    monkeypatch.setattr(resampling, "FREQUENT", frequent)
    truth, predictions = models(40, rows=900)
    [found] = paired_differences(truth, predictions, [(0, 2)], 40, seed=3, resamples=RESAMPLES)
    by_row = (predictions[0] == truth).astype(float) - (predictions[2] == truth)
    half_width = (found.accuracy.high - found.accuracy.low) / 2
    assert half_width == pytest.approx(1.96 * by_row.std() / np.sqrt(900), rel=0.05)


def test_the_differences_of_a_pair_are_the_negated_ones_of_the_pair_turned_round():
    truth, predictions = models(5)
    one, other = paired_differences(truth, predictions, [(0, 1), (1, 0)], 5, seed=3, resamples=500)
    assert (one.accuracy.low, one.accuracy.high) == pytest.approx((-other.accuracy.high, -other.accuracy.low))
    assert [each.value for each in one.f1] == pytest.approx([-each.value for each in other.f1])


@pytest.mark.parametrize(("rows", "num_labels"), [(20, 400), (900, 12)])
def test_the_samples_that_are_drawn_at_once_are_bounded_by_rows_and_by_labels(monkeypatch, rows, num_labels):
    monkeypatch.setattr(resampling, "CHUNK_CELLS", 10_000)
    truth, *predictions = np.random.default_rng(4).integers(0, 2, (3, rows, num_labels))
    judged = JudgedRows.of(truth, predictions, num_labels)
    assert judged.statistics.shape == (5 * num_labels, rows)  # no two rows are alike
    chunks = [scores[0].f1.shape[0] for scores in judged.resampled(np.random.default_rng(3), 100)]
    assert sum(chunks) == 100
    assert max(chunks) == 10_000 // max(5 * num_labels, rows)


def test_how_many_samples_are_drawn_at_once_changes_which_numbers_are_drawn_and_no_more(monkeypatch):
    truth, predictions = models(5)
    whole = paired_differences(truth, predictions, [(0, 1)], 5, seed=3, resamples=RESAMPLES)[0].accuracy
    monkeypatch.setattr(resampling, "CHUNK_CELLS", 100)
    parts = paired_differences(truth, predictions, [(0, 1)], 5, seed=3, resamples=RESAMPLES)[0].accuracy
    assert whole.value == parts.value
    assert (whole.low, whole.high) == pytest.approx((parts.low, parts.high), abs=0.01)


def test_the_memory_grows_with_the_models_and_not_with_their_pairs():
    generator = np.random.default_rng(6)
    truth, *predictions = generator.integers(0, 60, (9, 200))
    every = list(itertools.combinations(range(8), 2))

    def peak(pairs: list[tuple[int, int]]) -> int:
        tracemalloc.start()
        try:
            paired_differences(truth, predictions, pairs, 60, seed=3, resamples=2_000)
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    peak(every[:1])  # what is imported and kept by the first call belongs to neither
    assert peak(every) < 1.2 * peak(every[:1])
