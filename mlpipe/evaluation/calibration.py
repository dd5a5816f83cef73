"""Whether a model is right as often as its probabilities say."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

BINS = 15


@dataclass(frozen=True)
class ReliabilityBin:
    """The rows whose highest probability lies in (low, high]: how many, what the model said, how often it was right."""

    low: float
    high: float
    rows: int
    confidence: float
    accuracy: float


@dataclass(frozen=True)
class Calibration:
    """The expected calibration error, 0..1, and the reliability curve behind it; bins without rows are left out."""

    expected_error: float
    bins: tuple[ReliabilityBin, ...]


def calibration(confidence: ArrayLike, is_right: ArrayLike, bins: int = BINS) -> Calibration:
    """Bin rows (n,) by the probability of their prediction, in bins of equal width.

    The error is the mean over rows of |accuracy - confidence| of their bins; Guo et al., On calibration of modern
    neural networks (2017).
    """
    sure, right = np.asarray(confidence, dtype=np.float64), np.asarray(is_right, dtype=np.float64)
    edges = np.linspace(0.0, 1.0, bins + 1)
    at = np.clip(np.searchsorted(edges, sure, side="left") - 1, 0, bins - 1)
    found = []
    for number in np.unique(at):
        rows = at == number
        low, high = float(edges[number]), float(edges[number + 1])
        found.append(ReliabilityBin(low, high, int(rows.sum()), float(sure[rows].mean()), float(right[rows].mean())))
    error = sum(each.rows * abs(each.accuracy - each.confidence) for each in found) / len(sure)
    return Calibration(float(error), tuple(found))
