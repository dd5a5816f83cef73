"""Tests of whether models that were measured on the same rows differ by more than chance.

All p-values are two-sided unless they are of a chi-squared statistic.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike


@dataclass(frozen=True)
class McNemar:
    """McNemar's test of two models: rows that only the first, and only the second, has right, and p-values.

    `p_exact` is that of the binomial test of the discordant rows, `p_corrected` that of the chi-squared approximation
    with Edwards' continuity correction; both are 1 where no row is discordant. McNemar, Note on the sampling error of
    the difference between correlated proportions or percentages (1947).
    """

    only_first: int
    only_second: int
    p_exact: float
    p_corrected: float


def mcnemar(first_is_right: ArrayLike, second_is_right: ArrayLike) -> McNemar:
    """Compare two models by which rows (n,) each has right."""
    first, second = np.asarray(first_is_right, dtype=bool), np.asarray(second_is_right, dtype=bool)
    only_first, only_second = int((first & ~second).sum()), int((~first & second).sum())
    return McNemar(
        only_first,
        only_second,
        binomial_test(only_first, only_first + only_second),
        _corrected(only_first, only_second),
    )


def binomial_test(successes: int, trials: int) -> float:
    """The two-sided p-value of so many successes where each trial succeeds with probability 1/2.

    Exact: the binomial coefficients are added up as whole numbers.
    """
    smaller = min(successes, trials - successes)
    if 2 * smaller == trials:
        return 1.0
    coefficient = total = 1
    for number in range(1, smaller + 1):
        coefficient = coefficient * (trials - number + 1) // number
        total += coefficient
    return min(1.0, float(2 * total / 2**trials))


def _corrected(only_first: int, only_second: int) -> float:
    discordant = only_first + only_second
    if not discordant:
        return 1.0
    return chi_squared_survival((abs(only_first - only_second) - 1) ** 2 / discordant, 1)


@dataclass(frozen=True)
class CochranQ:
    """Cochran's Q of several models: its statistic, and the p-value by chi-squared with one less degree of freedom."""

    statistic: float
    p_value: float


def cochran_q(is_right: ArrayLike) -> CochranQ:
    """Test whether models have rows right equally often; `is_right` is (n, m), rows down and models across.

    Cochran, The comparison of percentages in matched samples (1950). Without a row on which models differ, p is 1.
    """
    right = np.asarray(is_right, dtype=np.int64)
    models = right.shape[1]
    by_model, by_row = right.sum(axis=0), right.sum(axis=1)
    spread = models * by_row.sum() - (by_row**2).sum()
    if not spread:
        return CochranQ(0.0, 1.0)
    statistic = (models - 1) * (models * (by_model**2).sum() - by_model.sum() ** 2) / spread
    return CochranQ(float(statistic), chi_squared_survival(float(statistic), models - 1))


def chi_squared_survival(statistic: float, degrees: int) -> float:
    """The probability that a chi-squared variable with so many degrees of freedom is at least `statistic`.

    By the recurrence of the regularized incomplete gamma function; Abramowitz and Stegun, 26.4.4 and 26.4.5.
    """
    half = statistic / 2
    if half <= 0:
        return 1.0
    start = 2 if degrees % 2 == 0 else 1
    survival = math.exp(-half) if start == 2 else math.erfc(math.sqrt(half))
    for k in range(start, degrees, 2):
        survival += math.exp(k / 2 * math.log(half) - half - math.lgamma(k / 2 + 1))
    return min(1.0, survival)


def holm(p_values: Sequence[float]) -> list[float]:
    """P-values adjusted for their number; Holm, A simple sequentially rejective multiple test procedure (1979)."""
    order = sorted(range(len(p_values)), key=lambda at: p_values[at])
    adjusted, highest = [0.0] * len(p_values), 0.0
    for rank, at in enumerate(order):
        highest = max(highest, min(1.0, (len(p_values) - rank) * p_values[at]))
        adjusted[at] = highest
    return adjusted
