"""How far two models say the same of the same rows."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mlpipe.evaluation.resampling import is_right
from mlpipe.evaluation.statistics import confusion_matrix


def cohens_kappa(first: ArrayLike, second: ArrayLike, num_labels: int) -> float:
    """Agreement of two predictions, class indices (n,), beyond what chance gives: 1 at most, 0 for chance.

    Cohen, A coefficient of agreement for nominal scales (1960). Of two models that both predict one label alone it is
    1: they agree on every row.
    """
    counts = confusion_matrix(first, second, num_labels).astype(np.float64)
    total = counts.sum()
    observed, expected = np.trace(counts) / total, counts.sum(axis=1) @ counts.sum(axis=0) / total**2
    return 1.0 if expected == 1 else float((observed - expected) / (1 - expected))


def mean_kappa(first: NDArray[Any], second: NDArray[Any]) -> float:
    """The mean over labels of Cohen's kappa of two multi-label predictions, 1 or 0 for every row and label (n, K).

    Only the labels count that one of the two predicts for some row: by all others they agree on nothing that either has
    said. Without such a label it is 1, for the two say the same of every row.
    """
    said = np.flatnonzero((first | second).any(axis=0))
    return float(np.mean([cohens_kappa(first[:, at], second[:, at], 2) for at in said])) if said.size else 1.0


def disagreeing_rows(truth: NDArray[Any], first: NDArray[Any], second: NDArray[Any]) -> NDArray[np.int64]:
    """The numbers of the rows (n,) to which two models give different labels, those that one has right first."""
    apart = np.flatnonzero(~is_right(first, second))
    is_either_right = is_right(truth[apart], first[apart]) | is_right(truth[apart], second[apart])
    return apart[np.argsort(~is_either_right, kind="stable")]
