"""The tests of significance against libraries that have them, and how often they are wrong."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from statsmodels.stats.contingency_tables import cochrans_q
from statsmodels.stats.contingency_tables import mcnemar as statsmodels_mcnemar
from statsmodels.stats.multitest import multipletests

from mlpipe.evaluation.significance import binomial_test, chi_squared_survival, cochran_q, holm, mcnemar


@pytest.fixture(scope="module", autouse=True)
def _nothing_to_collect() -> Iterator[None]:
    """statsmodels collects garbage in every call of multipletests: that takes the longer, the more tests ran before."""
    gc.freeze()
    yield
    gc.unfreeze()


@given(trials=st.integers(0, 3_000), share=st.floats(0, 1))
@settings(max_examples=200, deadline=None)
def test_the_binomial_test_is_scipys(trials: int, share: float):
    successes = round(share * trials)
    expected = stats.binomtest(successes, trials).pvalue if trials else 1.0
    assert binomial_test(successes, trials) == pytest.approx(expected, rel=1e-9, abs=1e-12)


@given(statistic=st.floats(0, 300), degrees=st.integers(1, 12))
@settings(max_examples=300, deadline=None)
def test_the_chi_squared_survival_is_scipys(statistic: float, degrees: int):
    assert chi_squared_survival(statistic, degrees) == pytest.approx(stats.chi2.sf(statistic, degrees), abs=1e-12)


@pytest.mark.parametrize("seed", range(10))
def test_mcnemar_is_that_of_statsmodels(seed: int):
    generator = np.random.default_rng(seed)
    first, second = generator.random(400) < 0.8, generator.random(400) < 0.75
    table = [[np.sum(first & second), np.sum(first & ~second)], [np.sum(~first & second), np.sum(~first & ~second)]]
    found = mcnemar(first, second)
    assert found.p_exact == pytest.approx(statsmodels_mcnemar(table, exact=True).pvalue, abs=1e-12)
    corrected = statsmodels_mcnemar(table, exact=False, correction=True).pvalue
    assert found.p_corrected == pytest.approx(corrected, abs=1e-12)


def test_models_that_are_right_on_the_same_rows_do_not_differ():
    right = np.array([True, False, True])
    found = mcnemar(right, right)
    assert (found.only_first, found.only_second, found.p_exact, found.p_corrected) == (0, 0, 1.0, 1.0)
    assert cochran_q(np.column_stack([right] * 3)).p_value == 1.0


@pytest.mark.parametrize("models", [2, 3, 5])
def test_cochrans_q_is_that_of_statsmodels(models: int):
    generator = np.random.default_rng(models)
    right = generator.random((300, models)) < np.linspace(0.7, 0.8, models)
    found, expected = cochran_q(right), cochrans_q(right.astype(int))
    assert found.statistic == pytest.approx(expected.statistic, abs=1e-10)
    assert found.p_value == pytest.approx(expected.pvalue, abs=1e-12)


@given(p_values=st.lists(st.floats(0, 1), min_size=1, max_size=15))
@settings(max_examples=50, deadline=None)
def test_holm_is_that_of_statsmodels(p_values: list[float]):
    assert holm(p_values) == pytest.approx(list(multipletests(p_values, method="holm")[1]), abs=1e-12)


def test_two_equally_accurate_models_are_called_different_in_at_most_7_percent_of_draws():
    generator = np.random.default_rng(5)
    called = sum(
        mcnemar(generator.random(1_000) < 0.8, generator.random(1_000) < 0.8).p_exact < 0.05 for _ in range(1_000)
    )
    assert 0 < called <= 70
