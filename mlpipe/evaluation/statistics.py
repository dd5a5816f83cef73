"""Scores of single-label predictions, and what of them would have come out on another sample of rows.

Conventions, all of them scikit-learn's with `zero_division=0`: a ratio without a denominator is 0; a macro average is
the plain mean over the labels that occur in truth or prediction; a weighted average weighs each label by its support.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mlpipe.errors import DataError
from mlpipe.specs import TaskType

CONFIDENCE = 0.95
DEFAULT_RESAMPLES = 10_000
CHUNK_CELLS = 2_000_000
"""How many cell counts are drawn at once: 16 MB as int64, whatever the number of labels."""


def confusion_matrix(truth: ArrayLike, prediction: ArrayLike, num_labels: int) -> NDArray[np.int64]:
    """Count rows by class: int64 (num_labels, num_labels), truth down, prediction across.

    `truth` and `prediction` are class indices (n,). Raises DataError where an index is outside 0..num_labels-1 or the
    two differ in length.
    """
    true, predicted = _class_indices(truth, num_labels), _class_indices(prediction, num_labels)
    if true.shape != predicted.shape:
        raise DataError(f"{true.size} true labels do not go with {predicted.size} predictions")
    cells = np.bincount(true * num_labels + predicted, minlength=num_labels * num_labels)
    return cells.astype(np.int64).reshape(num_labels, num_labels)


@dataclass(frozen=True)
class Scores:
    """Scores of one or many confusion matrices; all but the three counts lie in 0..1.

    Per label, (..., K), except `accuracy`, the fraction of all rows that are right, (...). `label_accuracy` is
    one-vs-rest, (TP + TN) / N; `support` and `predicted` count the rows of a label in truth and in prediction,
    `hits` those that are in both.
    """

    precision: NDArray[np.float64]
    recall: NDArray[np.float64]
    f1: NDArray[np.float64]
    label_accuracy: NDArray[np.float64]
    support: NDArray[np.float64]
    predicted: NDArray[np.float64]
    accuracy: NDArray[np.float64]
    hits: NDArray[np.float64]

    @classmethod
    def from_confusion(cls, confusion: ArrayLike) -> Scores:
        """Score confusion matrices (..., K, K) with truth down and prediction across."""
        counts = np.asarray(confusion, dtype=np.float64)
        return cls.from_counts(counts.diagonal(axis1=-2, axis2=-1), counts.sum(axis=-1), counts.sum(axis=-2))

    @classmethod
    def from_counts(
        cls,
        hits: NDArray[np.float64],
        support: NDArray[np.float64],
        predicted: NDArray[np.float64],
        *,
        rows: NDArray[np.float64] | None = None,
        right: NDArray[np.float64] | None = None,
    ) -> Scores:
        """Score from the three counts of each label, all (..., K): true positives, rows in truth, rows predicted.

        With one label a row, these also count the rows and those that are right; else `rows` and `right` do, (...).
        """
        total = (support.sum(axis=-1) if rows is None else rows)[..., None]
        return cls(
            precision=_ratio(hits, predicted),
            recall=_ratio(hits, support),
            f1=_ratio(2 * hits, support + predicted),
            label_accuracy=_ratio(total - support - predicted + 2 * hits, total),
            support=support,
            predicted=predicted,
            accuracy=_ratio(hits.sum(axis=-1) if right is None else right, total[..., 0]),
            hits=hits,
        )

    def macro(self, per_label: NDArray[np.float64]) -> NDArray[np.float64]:
        """The mean of a score (..., K) over the labels that occur in truth or prediction: (...)."""
        occurs = (self.support + self.predicted) > 0
        return _ratio((per_label * occurs).sum(axis=-1), occurs.sum(axis=-1))

    def weighted(self, per_label: NDArray[np.float64]) -> NDArray[np.float64]:
        """The mean of a score (..., K) over the rows, each with the score of its true label: (...)."""
        return _ratio((per_label * self.support).sum(axis=-1), self.support.sum(axis=-1))


def accuracy(truth: ArrayLike, prediction: ArrayLike, num_labels: int) -> float:
    """The fraction of rows whose predicted class index is the true one."""
    return float(_scores(truth, prediction, num_labels).accuracy)


def f1(truth: ArrayLike, prediction: ArrayLike, num_labels: int) -> float:
    """Macro F1 of class indices (n,)."""
    scores = _scores(truth, prediction, num_labels)
    return float(scores.macro(scores.f1))


def precision(truth: ArrayLike, prediction: ArrayLike, num_labels: int) -> float:
    """Macro precision of class indices (n,)."""
    scores = _scores(truth, prediction, num_labels)
    return float(scores.macro(scores.precision))


def recall(truth: ArrayLike, prediction: ArrayLike, num_labels: int) -> float:
    """Macro recall of class indices (n,)."""
    scores = _scores(truth, prediction, num_labels)
    return float(scores.macro(scores.recall))


def f1_micro(truth: ArrayLike, prediction: ArrayLike, num_labels: int) -> float:
    """F1 of the counts of all labels together; with one label a row, the micro averages equal the accuracy."""
    return float(_pooled_scores(truth, prediction, num_labels).f1[0])


def precision_micro(truth: ArrayLike, prediction: ArrayLike, num_labels: int) -> float:
    """Precision of the counts of all labels together."""
    return float(_pooled_scores(truth, prediction, num_labels).precision[0])


def recall_micro(truth: ArrayLike, prediction: ArrayLike, num_labels: int) -> float:
    """Recall of the counts of all labels together."""
    return float(_pooled_scores(truth, prediction, num_labels).recall[0])


def f1_weighted(truth: ArrayLike, prediction: ArrayLike, num_labels: int) -> float:
    """The mean F1 of class indices (n,), each label weighed by its support."""
    scores = _scores(truth, prediction, num_labels)
    return float(scores.weighted(scores.f1))


def precision_weighted(truth: ArrayLike, prediction: ArrayLike, num_labels: int) -> float:
    """The mean precision of class indices (n,), each label weighed by its support."""
    scores = _scores(truth, prediction, num_labels)
    return float(scores.weighted(scores.precision))


def recall_weighted(truth: ArrayLike, prediction: ArrayLike, num_labels: int) -> float:
    """The mean recall of class indices (n,), each label weighed by its support."""
    scores = _scores(truth, prediction, num_labels)
    return float(scores.weighted(scores.recall))


def mcc(truth: ArrayLike, prediction: ArrayLike, num_labels: int) -> float:
    """Matthews' correlation coefficient of class indices (n,), -1..1; 0 where truth or prediction is one label alone.

    For K labels it is R_K of Gorodkin, Comparing two K-category assignments by a K-category correlation coefficient
    (2004).
    """
    confusion = confusion_matrix(truth, prediction, num_labels).astype(np.float64)
    support, predicted, total = confusion.sum(axis=1), confusion.sum(axis=0), confusion.sum()
    covariance = np.trace(confusion) * total - support @ predicted
    variances = (total**2 - support @ support) * (total**2 - predicted @ predicted)
    return float(_ratio(covariance, np.sqrt(variances)))


def log_loss(truth: ArrayLike, probabilities: ArrayLike) -> float:
    """The mean of -log p over rows, p being the probability (n, K) of the row's true class index (n,).

    p is clipped to eps..1-eps of its float type, as scikit-learn's `log_loss` does. Raises DataError for a class index
    outside of 0..K-1.
    """
    rows = np.asarray(probabilities, dtype=np.float64)
    true = _class_indices(truth, rows.shape[1])
    epsilon = np.finfo(rows.dtype).eps
    return float(-np.log(np.clip(rows[np.arange(len(true)), true], epsilon, 1 - epsilon)).mean())


@dataclass(frozen=True)
class Estimate:
    """A score and its 95 % bootstrap interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class LabelStatistics:
    """The scores of one label; `accuracy` is one-vs-rest, `support` and `predicted` are numbers of rows."""

    label: str
    precision: float
    recall: float
    f1: float
    accuracy: float
    support: int
    predicted: int


@dataclass(frozen=True)
class Statistics:
    """Everything statistics.json says about one model on one set of rows.

    `per_label` is sorted by F1, best first, equal ones by name. `resamples` and `seed` are those of the intervals.
    """

    task_type: TaskType
    num_rows: int
    accuracy: Estimate
    macro_f1: Estimate
    weighted_f1: Estimate
    macro_precision: float
    macro_recall: float
    weighted_precision: float
    weighted_recall: float
    per_label: tuple[LabelStatistics, ...]
    confidence: float
    resamples: int
    seed: int

    @classmethod
    def from_confusion(
        cls,
        confusion: NDArray[np.int64],
        labels: Sequence[str],
        *,
        seed: int,
        resamples: int = DEFAULT_RESAMPLES,
    ) -> Statistics:
        """Score the confusion matrix (K, K) of `labels` (the names of classes 0..K-1).

        A pure function of its arguments. Raises DataError where the matrix counts no row.
        """
        scores = Scores.from_confusion(confusion)
        intervals = bootstrap_intervals(confusion, seed=seed, resamples=resamples)
        return cls(
            task_type=TaskType.SINGLE_LABEL,
            num_rows=int(confusion.sum()),
            accuracy=Estimate(float(scores.accuracy), *intervals["accuracy"]),
            macro_f1=Estimate(float(scores.macro(scores.f1)), *intervals["macro_f1"]),
            weighted_f1=Estimate(float(scores.weighted(scores.f1)), *intervals["weighted_f1"]),
            macro_precision=float(scores.macro(scores.precision)),
            macro_recall=float(scores.macro(scores.recall)),
            weighted_precision=float(scores.weighted(scores.precision)),
            weighted_recall=float(scores.weighted(scores.recall)),
            per_label=_per_label(scores, labels),
            confidence=CONFIDENCE,
            resamples=resamples,
            seed=seed,
        )

    def to_json(self) -> dict[str, Any]:
        """The content of statistics.json."""
        return asdict(self)


def bootstrap_intervals(
    confusion: NDArray[np.int64], *, seed: int, resamples: int = DEFAULT_RESAMPLES
) -> dict[str, tuple[float, float]]:
    """The 95 % percentile intervals (low, high) of "accuracy", "macro_f1" and "weighted_f1".

    The percentile interval of Efron and Tibshirani, An Introduction to the Bootstrap (1993), chapter 13: the 2.5 % and
    97.5 % quantiles of a score over sets of n rows that are drawn from the n rows with replacement. Such a draw changes
    a score only through its confusion matrix, and the counts of that are multinomial over the cells that are not empty,
    so the counts are drawn instead of rows. A label that is in no row of a resample is not part of its macro average.
    Raises DataError where the matrix counts no row.
    """
    if not confusion.any():
        raise DataError("there are no rows to score", hint="the test split needs at least one row")
    scored: dict[str, list[NDArray[np.float64]]] = {"accuracy": [], "macro_f1": [], "weighted_f1": []}
    for scores in _resampled(confusion, np.random.default_rng(seed), resamples):
        scored["accuracy"].append(scores.accuracy)
        scored["macro_f1"].append(scores.macro(scores.f1))
        scored["weighted_f1"].append(scores.weighted(scores.f1))
    return {name: percentile_interval(np.concatenate(chunks)) for name, chunks in scored.items()}


def _resampled(confusion: NDArray[np.int64], rng: np.random.Generator, resamples: int) -> Iterator[Scores]:
    """Scores of `resamples` bootstrap samples, in chunks of bounded memory; the chunks do not change what is drawn."""
    true, predicted = np.nonzero(confusion)
    counts = confusion[true, predicted]
    classes = np.eye(len(confusion))
    chunk = max(1, CHUNK_CELLS // max(len(counts), len(confusion)))
    for start in range(0, resamples, chunk):
        size = min(chunk, resamples - start)
        # Counts are whole numbers far below 2**53, so these float products are exact and take the fast BLAS path.
        cells = rng.multinomial(counts.sum(), counts / counts.sum(), size=size).astype(np.float64)
        hits = cells * (true == predicted)
        yield Scores.from_counts(hits @ classes[true], cells @ classes[true], cells @ classes[predicted])


def percentile_interval(samples: NDArray[np.float64]) -> tuple[float, float]:
    """The 2.5 % and 97.5 % quantiles of the scores (n,) of bootstrap samples."""
    low, high = np.quantile(samples, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return float(low), float(high)


def _per_label(scores: Scores, labels: Sequence[str]) -> tuple[LabelStatistics, ...]:
    columns = (scores.precision, scores.recall, scores.f1, scores.label_accuracy)
    ratios = np.stack(columns, axis=-1).tolist()
    counts = np.stack((scores.support, scores.predicted), axis=-1).astype(int).tolist()
    entries = [LabelStatistics(name, *ratios[i], *counts[i]) for i, name in enumerate(labels)]
    return tuple(sorted(entries, key=lambda entry: (-entry.f1, entry.label)))


def _scores(truth: ArrayLike, prediction: ArrayLike, num_labels: int) -> Scores:
    return Scores.from_confusion(confusion_matrix(truth, prediction, num_labels))


def _pooled_scores(truth: ArrayLike, prediction: ArrayLike, num_labels: int) -> Scores:
    """Scores (1,) of one label that stands for all: its counts are the sums of theirs."""
    confusion = confusion_matrix(truth, prediction, num_labels).astype(np.float64)
    hits, total = np.trace(confusion).reshape(1), confusion.sum().reshape(1)
    return Scores.from_counts(hits, total, total)


def _class_indices(values: ArrayLike, num_labels: int) -> NDArray[np.int64]:
    indices = np.asarray(values, dtype=np.int64)
    outside = np.flatnonzero((indices < 0) | (indices >= num_labels))
    if outside.size:
        raise DataError(
            f"row {outside[0]} has class index {indices[outside[0]]}, which is not one of the {num_labels} labels",
            hint=f"class indices go from 0 to {num_labels - 1}",
        )
    return indices


def _ratio(numerator: NDArray[Any], denominator: NDArray[Any]) -> NDArray[np.float64]:
    """`numerator / denominator`, and 0 where the denominator is 0."""
    safe = np.where(denominator > 0, denominator, 1)
    return np.asarray(np.where(denominator > 0, numerator / safe, 0.0), dtype=np.float64)
