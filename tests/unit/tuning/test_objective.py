"""How the objective is found in a log, and which patterns are refused."""

from __future__ import annotations

import pytest

from mlpipe.contract import default_regex
from mlpipe.errors import SettingsError
from mlpipe.training.history import objective_line
from mlpipe.tuning.objective import ObjectivePattern


@pytest.mark.parametrize("metric", ["f1", "log_loss", "hub:a-b/c.d"])
@pytest.mark.parametrize("value", [0.123456, -1.5, 1e-6, 12345.0])
def test_the_line_that_a_training_prints_is_found(metric: str, value: float):
    pattern = ObjectivePattern(default_regex(metric), metric)
    assert pattern.value_in(objective_line(metric, value)) == pytest.approx(value, abs=1e-6)
    assert pattern.value_in("epoch 1: f1 0.5") is None


@pytest.mark.parametrize(
    ("regex", "reason"),
    [
        ("f1=(.*", "missing"),
        ("f1=.*", "it has 0 groups, and one is expected"),
        ("(f1)=(.*)", "it has 2 groups, and one is expected"),
        ("f1=(?=0)(.*)", "invalid perl operator"),
        ("loss=(.*)", "it does not find 0.5 in"),
        ("(mlpipe)-objective", "it does not find 0.5 in"),
    ],
)
def test_a_pattern_that_cannot_work_is_refused(regex: str, reason: str):
    with pytest.raises(SettingsError, match=reason):
        ObjectivePattern(regex, "f1")


@pytest.mark.faults
def test_a_catastrophic_pattern_comes_to_an_end():
    pattern = ObjectivePattern(r"mlpipe-objective: f1=((?:[0-9.]+)+)$", "f1")
    assert pattern.value_in("mlpipe-objective: f1=" + "1" * 50_000 + "x") is None, "a backtracking matcher never ends"
