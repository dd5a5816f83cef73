"""Scores of multi-label predictions: 1 or 0 for every row and label, (n, K), in truth and prediction.

Conventions are those of `statistics`: a ratio without a denominator is 0; a macro average is the plain mean over the
labels that occur in truth or prediction (scikit-learn's `labels=` restricted to these); a weighted average weighs each
label by its support. The accuracy is that of whole rows: every label right.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mlpipe.errors import DataError
from mlpipe.evaluation.resampling import JudgedRows
from mlpipe.evaluation.statistics import (
    CONFIDENCE,
    DEFAULT_RESAMPLES,
    Estimate,
    LabelStatistics,
    Scores,
    Statistics,
    percentile_interval,
)
from mlpipe.specs import TaskType


@dataclass(frozen=True)
class MultiLabelLabelStatistics(LabelStatistics):
    """The scores of one label, and the probability from which on it counts as predicted.

    `accuracy` is that of its own decisions; the four counts of its confusion matrix follow from `support`, `predicted`
    and `hits`.
    """

    hits: int
    threshold: float


@dataclass(frozen=True)
class MultiLabelStatistics(Statistics):
    """What statistics.json says of multi-label rows: the same, with the micro average and the Hamming loss.

    `hamming_loss` is the share of all decisions, one for every row and label, that are wrong.
    """

    micro_f1: Estimate
    hamming_loss: float


def score(name: str, truth: ArrayLike, predicted: ArrayLike) -> float:
    """The metric of that name, one of MULTI_LABEL_METRICS. Raises DataError where the two differ in shape."""
    scores = scores_of(truth, predicted)
    if name == "accuracy":
        return float(scores.accuracy)
    kind, _, average = name.partition("_")
    if average == "micro":
        return float(getattr(_pooled(scores), kind)[0])
    averaged = scores.weighted if average == "weighted" else scores.macro
    return float(averaged(getattr(scores, kind)))


def scores_of(truth: ArrayLike, predicted: ArrayLike) -> Scores:
    """The scores of all labels; DataError where the two differ in shape."""
    true, found = np.asarray(truth, dtype=np.int64), np.asarray(predicted, dtype=np.int64)
    if true.shape != found.shape or true.ndim != 2:
        raise DataError(f"labels of shape {true.shape} do not go with predictions of shape {found.shape}")
    hits, support, counts = ((part).sum(axis=0).astype(np.float64) for part in (true & found, true, found))
    right = np.asarray((true == found).all(axis=1).sum(), dtype=np.float64)
    return Scores.from_counts(hits, support, counts, rows=np.asarray(float(len(true))), right=right)


def multi_label_statistics(
    truth: NDArray[Any],
    predicted: NDArray[Any],
    labels: Sequence[str],
    thresholds: Mapping[str, float],
    *,
    seed: int,
    resamples: int = DEFAULT_RESAMPLES,
) -> MultiLabelStatistics:
    """Score predictions (n, K) of `labels`, which were predicted from their `thresholds` on.

    The intervals are percentile intervals of bootstrap samples of whole rows. A pure function of its arguments. Raises
    DataError where there is no row.
    """
    if not len(truth):
        raise DataError("there are no rows to score", hint="the test split needs at least one row")
    scores = scores_of(truth, predicted)
    low_high = _intervals(truth, predicted, seed=seed, resamples=resamples)
    return MultiLabelStatistics(
        task_type=TaskType.MULTI_LABEL,
        num_rows=len(truth),
        accuracy=Estimate(float(scores.accuracy), *low_high["accuracy"]),
        macro_f1=Estimate(float(scores.macro(scores.f1)), *low_high["macro_f1"]),
        weighted_f1=Estimate(float(scores.weighted(scores.f1)), *low_high["weighted_f1"]),
        macro_precision=float(scores.macro(scores.precision)),
        macro_recall=float(scores.macro(scores.recall)),
        weighted_precision=float(scores.weighted(scores.precision)),
        weighted_recall=float(scores.weighted(scores.recall)),
        per_label=_per_label(scores, labels, thresholds),
        confidence=CONFIDENCE,
        resamples=resamples,
        seed=seed,
        micro_f1=Estimate(float(_pooled(scores).f1[0]), *low_high["micro_f1"]),
        hamming_loss=float((truth != predicted).mean()),
    )


def _intervals(
    truth: NDArray[Any], predicted: NDArray[Any], *, seed: int, resamples: int
) -> dict[str, tuple[float, float]]:
    drawn: dict[str, list[NDArray[np.float64]]] = {
        name: [] for name in ("accuracy", "macro_f1", "weighted_f1", "micro_f1")
    }
    for (scores,) in JudgedRows.of(truth, [predicted], truth.shape[1]).resampled(
        np.random.default_rng(seed), resamples
    ):
        drawn["accuracy"].append(scores.accuracy)
        drawn["macro_f1"].append(scores.macro(scores.f1))
        drawn["weighted_f1"].append(scores.weighted(scores.f1))
        drawn["micro_f1"].append(_pooled(scores).f1[..., 0])
    return {name: percentile_interval(np.concatenate(chunks)) for name, chunks in drawn.items()}


def _pooled(scores: Scores) -> Scores:
    """The scores (..., 1) of all decisions together."""
    parts = (part.sum(axis=-1, keepdims=True) for part in (scores.hits, scores.support, scores.predicted))
    return Scores.from_counts(*parts)


def _per_label(scores: Scores, labels: Sequence[str], thresholds: Mapping[str, float]) -> tuple[LabelStatistics, ...]:
    entries = [
        MultiLabelLabelStatistics(
            label=name,
            precision=float(scores.precision[at]),
            recall=float(scores.recall[at]),
            f1=float(scores.f1[at]),
            accuracy=float(scores.label_accuracy[at]),
            support=int(scores.support[at]),
            predicted=int(scores.predicted[at]),
            hits=int(scores.hits[at]),
            threshold=thresholds[name],
        )
        for at, name in enumerate(labels)
    ]
    return tuple(sorted(entries, key=lambda entry: (-entry.f1, entry.label)))
