"""What trials are given: as Optuna would, within the space, and never twice."""

from __future__ import annotations

import math
from typing import Any

import optuna
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlpipe.backends.sagemaker.tuning_config import parameter_ranges
from mlpipe.specs import TrialRecord, TrialState, TuningSpec
from mlpipe.tuning.sampling import Sampler, distribution_of, value_of
from mlpipe.tuning.space import Categories, Interval, parse_space, parse_tunable

SPACE = {"learning_rate": "1e-5 -> 1e-3 log", "batch_size": "16, 32", "depth": "1 -> 8", "dropout": "0.0 -> 0.3"}


def spec(space: dict[str, str] = SPACE, **changes: Any) -> TuningSpec:
    given = {
        "objective": "f1",
        "maximizes": True,
        "regex": "f1=(.*)",
        "space": space,
        "strategy": "Bayesian",
        "sampler": "tpe",
        "max_jobs": 20,
        "max_parallel_jobs": 1,
        "stops_early": False,
        "seed": 3,
        "target_value": None,
        "patience": 0,
        "max_minutes": 0.0,
        "max_failures": 3,
    }
    return TuningSpec(**{**given, **changes})


def surface(values: dict[str, str]) -> float:
    """An objective that is known for every trial."""
    return (
        -((math.log10(float(values["learning_rate"])) + 4) ** 2) - float(values["dropout"]) + int(values["depth"]) / 9
    )


def record(number: int, values: dict[str, str], state: TrialState = TrialState.COMPLETED) -> TrialRecord:
    return TrialRecord(number, f"t-{number}", state, values, (surface(values),))


def asked(sampler: Sampler, trials: int) -> list[dict[str, str]]:
    found = []
    for number in range(1, trials + 1):
        trial, values = sampler.ask()
        sampler.tell(trial, record(number, values))
        found.append(values)
    return found


@pytest.mark.parametrize("strategy", ["Bayesian", "Random"])
@pytest.mark.parametrize("maximizes", [True, False])
def test_one_at_a_time_exactly_what_bare_optuna_asks_is_asked(strategy: str, maximizes: bool):
    samplers = {
        "Bayesian": optuna.samplers.TPESampler(seed=3, constant_liar=False),
        "Random": optuna.samplers.RandomSampler(seed=3),
    }
    study = optuna.create_study(direction="maximize" if maximizes else "minimize", sampler=samplers[strategy])
    bare = []
    for _ in range(25):
        trial = study.ask()
        values = {
            "learning_rate": str(trial.suggest_float("learning_rate", 1e-5, 1e-3, log=True)),
            "batch_size": str(trial.suggest_categorical("batch_size", (16, 32))),
            "depth": str(trial.suggest_int("depth", 1, 8)),
            "dropout": str(trial.suggest_float("dropout", 0.0, 0.3)),
        }
        study.tell(trial, surface(values))
        bare.append(values)
    assert asked(Sampler(spec(strategy=strategy, maximizes=maximizes)), 25) == bare


def test_a_gaussian_process_draws_from_the_space():
    drawn = asked(Sampler(spec(sampler="gp")), 12)
    assert all(1e-5 <= float(values["learning_rate"]) <= 1e-3 for values in drawn)


def test_after_an_interruption_no_draw_is_repeated_and_what_was_found_is_known():
    first = asked(Sampler(spec(strategy="Random")), 6)
    finished = [record(number, values) for number, values in enumerate(first, start=1)]
    again = asked(Sampler(spec(strategy="Random"), finished), 6)
    assert not [values for values in again if values in first]


def test_trials_that_do_not_fit_the_space_are_passed_over():
    good = asked(Sampler(spec(strategy="Random")), 3)
    others = [
        {**good[0], "learning_rate": "0.5"},
        {**good[0], "batch_size": "64"},
        {**good[0], "depth": "no number"},
        {"learning_rate": "1e-4"},
    ]
    records = tuple(
        TrialRecord(number, "t", TrialState.COMPLETED, values, (1.0,)) for number, values in enumerate([*good, *others])
    )
    sampler = Sampler(spec(earlier=records))
    assert len(sampler._study.trials) == 3


def test_every_combination_of_a_grid_is_drawn_once_and_finished_ones_are_not():
    grid = {"a": "1, 2", "b": "x, y, z"}
    sampler = Sampler(spec(grid, strategy="Grid"))
    drawn = [sampler.ask()[1] for _ in range(6)]
    assert len({tuple(values.items()) for values in drawn}) == 6
    finished = [TrialRecord(1, "t", TrialState.COMPLETED, drawn[0], (1.0,))]
    rest = Sampler(spec(grid, strategy="Grid"), finished)
    assert [rest.ask()[1] for _ in range(5)] == drawn[1:]


numbers = st.floats(1e-6, 0.99, allow_nan=False).map(lambda number: float(f"{number:.4g}"))
scales = st.sampled_from(["", " log", " reverse log"])
intervals = st.tuples(numbers, numbers, scales).filter(lambda drawn: drawn[0] < drawn[1])
integers = st.tuples(st.integers(1, 500), st.integers(1, 500), st.sampled_from(["", " log"])).filter(
    lambda drawn: drawn[0] < drawn[1]
)
written = st.one_of(
    st.one_of(intervals, integers).map(lambda drawn: f"{drawn[0]} -> {drawn[1]}{drawn[2]}"),
    st.lists(st.integers(0, 99), min_size=2, max_size=8, unique=True).map(lambda drawn: ", ".join(map(str, drawn))),
)


@given(text=written, fractions=st.lists(st.floats(0, 1), min_size=1, max_size=5))
@settings(max_examples=300, deadline=None)
def test_optuna_and_sagemaker_are_told_of_the_same_set(text: str, fractions: list[float]):
    tunable = parse_tunable(text)
    distribution = distribution_of(tunable)
    ranges = parameter_ranges(parse_space({"x": text}))
    if isinstance(tunable, Categories):
        (entry,) = ranges.categorical_parameter_ranges
        assert entry.values == [str(choice) for choice in distribution.choices]
        return
    kind = ranges.integer_parameter_ranges if tunable.is_integer else ranges.continuous_parameter_ranges
    (entry,) = kind
    ends = sorted(float(value_of(tunable, end)) for end in (distribution.low, distribution.high))
    assert ends == pytest.approx([float(entry.min_value), float(entry.max_value)], abs=1e-12)
    assert distribution.log == (entry.scaling_type in ("Logarithmic", "ReverseLogarithmic"))
    for fraction in fractions:
        inside = distribution.low + fraction * (distribution.high - distribution.low)
        value = float(value_of(tunable, round(inside) if tunable.is_integer else inside))
        assert float(entry.min_value) - 1e-12 <= value <= float(entry.max_value) + 1e-12


def test_reverse_log_is_dense_near_one():
    tunable = Interval(0.9, 0.9999, "reverse log")
    sampler = Sampler(spec({"x": "0.9 -> 0.9999 reverse log"}, strategy="Random"))
    drawn = [float(sampler.ask()[1]["x"]) for _ in range(200)]
    assert all(tunable.low <= value <= tunable.high for value in drawn)
    assert sum(value > 0.99 for value in drawn) > 100
