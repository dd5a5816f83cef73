"""SageMaker's rule: worse than the median of the running averages of earlier trials up to the same epoch."""

from __future__ import annotations

import pytest

from mlpipe.tuning.early_stopping import has_fallen_behind

EARLIER = [(0.2, 0.4, 0.6), (0.4, 0.6, 0.8), (0.6, 0.8, 1.0)]  # running averages after 2: 0.3, 0.5, 0.7


@pytest.mark.parametrize(
    ("curve", "is_behind"),
    [
        ((), False),
        ((0.39,), True),
        ((0.4,), False),
        ((0.1, 0.49), True),
        ((0.1, 0.5), False),
        ((0.1, 0.1, 0.61), False),
    ],
)
def test_the_last_value_is_held_against_the_median_of_running_averages(curve: tuple[float, ...], is_behind: bool):
    assert has_fallen_behind(curve, EARLIER, maximizes=True) is is_behind


def test_a_lower_value_is_better_where_the_objective_is_minimised():
    assert has_fallen_behind((0.51,), [(0.5, 0.4)], maximizes=False)
    assert not has_fallen_behind((0.49,), [(0.5, 0.4)], maximizes=False)


def test_only_trials_that_got_as_far_count():
    assert not has_fallen_behind((0.1, 0.1, 0.1, 0.1), EARLIER, maximizes=True)
    assert not has_fallen_behind((0.1,), [], maximizes=True)
    assert has_fallen_behind((0.0, 0.0, 0.0), [(0.9,), (0.9,), (0.1, 0.1, 0.1)], maximizes=True)
