"""Bootstrap samples of rows that several models have judged, each row drawn with all of its predictions."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlpipe.evaluation.statistics import CHUNK_CELLS, CONFIDENCE, Estimate, Scores

FREQUENT = 16
"""Rows from which on it is quicker to draw the number of rows that are alike than to draw them one by one."""


@dataclass(frozen=True)
class Differences:
    """By how much one model's scores exceed another's, with 95 % percentile intervals; `f1` has one entry per label."""

    accuracy: Estimate
    macro_f1: Estimate
    f1: tuple[Estimate, ...]


def paired_differences(
    truth: NDArray[Any],
    predictions: Sequence[NDArray[Any]],
    pairs: Sequence[tuple[int, int]],
    num_labels: int,
    *,
    seed: int,
    resamples: int,
) -> list[Differences]:
    """The differences of the scores of pairs of models, by their numbers in `predictions`.

    Truth and predictions are class indices (n,), or of multi-label data 1 or 0 for every row and label (n, labels).

    The percentile interval of Efron and Tibshirani, An Introduction to the Bootstrap (1993), chapter 13: rows are drawn
    with replacement, each with all of its predictions. A pure function of its arguments.

    The memory grows with the models, not with their pairs: of each model, 8 bytes are kept per resample and label (20
    models, 150 labels and 10,000 resamples: 240 MB).
    """
    rows = JudgedRows.of(truth, predictions, num_labels)
    values = [_columns(scores)[0] for scores in rows.scores(rows.counts[None].astype(np.float64))]
    samples = [np.empty((resamples, 2 + num_labels)) for _ in predictions]
    start = 0
    for chunk in rows.resampled(np.random.default_rng(seed), resamples):
        end = start + len(chunk[0].accuracy)
        for kept, scores in zip(samples, chunk, strict=True):
            kept[start:end] = _columns(scores)
        start = end
    return [_differences(values[one] - values[other], samples[one] - samples[other]) for one, other in pairs]


@dataclass(frozen=True)
class JudgedRows:
    """Distinct rows (truth and all predictions), how often each occurs, and what each adds to the counts of labels.

    `statistics` is a sparse matrix (1 + 2 * models) * labels by distinct rows: the supports of the labels, then, model
    by model, their hits and how often they are predicted. `right` (models, distinct rows) is 1 where a model has
    everything of a row right. Counts are whole numbers far below 2**53, so all sums of them are exact.
    """

    counts: NDArray[np.int64]
    statistics: Any
    right: NDArray[np.float64]
    num_labels: int

    @classmethod
    def of(cls, truth: NDArray[Any], predictions: Sequence[NDArray[Any]], num_labels: int) -> JudgedRows:
        """Count the rows that are alike; what the arrays are says `paired_differences`."""
        from scipy.sparse import coo_array  # a fifth of a second, and only needed for a comparison

        (true, *predicted), counts = _distinct([truth, *predictions])
        blocks = [_occurring(true)]
        for each in predicted:
            blocks += [_occurring(true, where=each), _occurring(each)]
        at = np.concatenate([number * num_labels + labels for number, (labels, _) in enumerate(blocks)])
        where = np.concatenate([column for _, column in blocks])
        shape = (len(blocks) * num_labels, len(counts))
        statistics = coo_array((np.ones(len(at)), (at, where)), shape=shape).tocsr()
        right = np.stack([is_right(true, each) for each in predicted]).astype(np.float64)
        return cls(counts, statistics, right, num_labels)

    def resampled(self, rng: np.random.Generator, resamples: int) -> Iterator[list[Scores]]:
        """The scores of every model in bootstrap samples, in chunks of bounded memory: rows and counts of labels alike.

        How often each distinct row is drawn is multinomial. The frequent ones are drawn from that distribution; of
        the rest only how many they are together, and then each of those by its number, which is the same and quicker.
        """
        is_frequent = self.counts >= FREQUENT
        frequent, rare = np.flatnonzero(is_frequent), np.flatnonzero(~is_frequent)
        each_rare = np.repeat(np.arange(len(rare)), self.counts[rare])
        groups = np.append(self.counts[frequent], len(each_rare))
        chunk = max(1, CHUNK_CELLS // max(self.statistics.shape))
        for start in range(0, resamples, chunk):
            size = min(chunk, resamples - start)
            drawn = rng.multinomial(groups.sum(), groups / groups.sum(), size=size)
            weights = np.empty((size, len(self.counts)))
            weights[:, frequent] = drawn[:, :-1]
            for sample, count in enumerate(drawn[:, -1]):
                picked = each_rare[rng.integers(0, len(each_rare), count)] if count else each_rare[:0]
                weights[sample, rare] = np.bincount(picked, minlength=len(rare))
            yield self.scores(weights)

    def scores(self, weights: NDArray[np.float64]) -> list[Scores]:
        """The scores of every model where the distinct rows occur as often as `weights` (samples, rows) says."""
        support, *others = np.split((self.statistics @ weights.T).T, self.statistics.shape[0] // self.num_labels, 1)
        rows, right = weights.sum(axis=1), weights @ self.right.T
        return [
            Scores.from_counts(others[2 * at], support, others[2 * at + 1], rows=rows, right=right[:, at])
            for at in range(len(self.right))
        ]


def is_right(truth: NDArray[Any], predicted: NDArray[Any]) -> NDArray[np.bool_]:
    """Which rows (n,) a model has right; of multi-label rows, with every label."""
    same = np.asarray(truth == predicted)
    return same if same.ndim == 1 else np.asarray(same.all(axis=1))


def _distinct(columns: Sequence[NDArray[Any]]) -> tuple[list[NDArray[Any]], NDArray[np.int64]]:
    """Each of these as the distinct rows of all together have it, and how often those occur."""
    if columns[0].ndim == 1:
        cells, counts = np.unique(np.stack(columns), axis=1, return_counts=True)
        return list(cells), counts
    bits = np.packbits(np.concatenate([column.astype(bool) for column in columns], axis=1), axis=1)
    _, first, counts = np.unique(bits, axis=0, return_index=True, return_counts=True)
    return [column[first] for column in columns], counts


def _occurring(values: NDArray[Any], where: NDArray[Any] | None = None) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Every label of every row, and the number of that row; with `where`, only the labels that stand there, too."""
    if values.ndim == 1:
        rows = np.arange(len(values)) if where is None else np.flatnonzero(values == where)
        return values[rows], rows
    rows, labels = np.nonzero(values if where is None else values & where)
    return labels, rows


def _columns(scores: Scores) -> NDArray[np.float64]:
    """Accuracy, macro F1 and the F1 of each label, side by side: (samples, 2 + labels)."""
    return np.column_stack([scores.accuracy, scores.macro(scores.f1), scores.f1])


def _differences(values: NDArray[np.float64], samples: NDArray[np.float64]) -> Differences:
    low, high = np.quantile(samples, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2], axis=0)
    accuracy, macro_f1, *f1 = map(Estimate, values.tolist(), low.tolist(), high.tolist())
    return Differences(accuracy, macro_f1, tuple(f1))
