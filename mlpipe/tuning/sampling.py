"""Which hyperparameters a trial gets: Optuna's samplers, asked one trial at a time and told what came of each.

Optuna: https://optuna.readthedocs.io/en/stable/tutorial/20_recipes/009_ask_and_tell.html (extra tune).
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.trial import TrialState as OptunaState

from mlpipe.specs import Scalar, TrialRecord, TrialState, TuningSpec
from mlpipe.tuning.space import Categories, Interval, Space, Tunable, parse_space


def distribution_of(tunable: Tunable) -> BaseDistribution:
    """Optuna's description of a tunable; an interval with reverse log is one of the distance to 1."""
    match tunable:
        case Categories(values):
            return CategoricalDistribution(values)
        case Interval(low, high, "reverse log"):
            return FloatDistribution(1.0 - float(high), 1.0 - float(low), log=True)
        case Interval(low, high, scale) if tunable.is_integer:
            return IntDistribution(int(low), int(high), log=scale == "log")
        case Interval(low, high, scale):
            return FloatDistribution(float(low), float(high), log=scale == "log")


def value_of(tunable: Tunable, drawn: Scalar) -> Scalar:
    """The hyperparameter behind what Optuna has drawn; and the other way round: it is its own inverse."""
    if isinstance(tunable, Interval) and tunable.scale == "reverse log":
        return 1.0 - float(drawn)
    return drawn


class Sampler:
    """Draws the trials of one tuning; not thread-safe.

    `finished` are trials of the same tuning that ended before, whose draws are not repeated; the trials of
    `spec.earlier` are learned from only.
    """

    def __init__(self, spec: TuningSpec, finished: Sequence[TrialRecord] = ()) -> None:
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self._spec = spec
        self._space: Space = parse_space(spec.space)
        self._distributions = {name: distribution_of(tunable) for name, tunable in self._space.items()}
        self._study = optuna.create_study(
            direction="maximize" if spec.maximizes else "minimize",
            sampler=_sampler(spec, len(finished)),
            pruner=_pruner(spec),
        )
        self._open: dict[int, optuna.Trial] = {}
        for record in (*spec.earlier, *finished):
            self._add(record)
        if spec.strategy == "Grid":
            self._enqueue_grid(finished)

    def ask(self) -> tuple[int, dict[str, str]]:
        """A number to tell the outcome by, and the hyperparameters of the next trial as text."""
        trial = self._study.ask(self._distributions)
        self._open[trial.number] = trial
        values = {name: value_of(self._space[name], trial.params[name]) for name in self._space}
        return trial.number, {name: str(value) for name, value in values.items()}

    def is_hopeless(self, number: int, curve: Sequence[float]) -> bool:
        """Whether Hyperband would give the trial no more epochs after the last value of its curve."""
        if self._spec.strategy != "Hyperband":
            return False
        trial = self._open[number]
        trial.report(curve[-1], len(curve))
        return trial.should_prune()

    def tell(self, number: int, record: TrialRecord) -> None:
        """What came of a trial that was asked for."""
        trial = self._open.pop(number)
        if record.objective is None or record.state is TrialState.FAILED:
            self._study.tell(trial, state=OptunaState.FAIL)
        else:
            self._study.tell(trial, record.objective)

    def _add(self, record: TrialRecord) -> None:
        """A trial that ended before this sampler was made, where it lies in the space."""
        params = self._params(record.hyperparameters)
        if record.objective is None or record.state is TrialState.FAILED or params is None:
            return
        self._study.add_trial(
            optuna.trial.create_trial(params=params, distributions=self._distributions, value=record.objective)
        )

    def _params(self, texts: Mapping[str, str]) -> dict[str, Any] | None:
        """Hyperparameters as Optuna would have drawn them; None where they are not of this space."""
        if set(texts) != set(self._space):
            return None
        params: dict[str, Any] = {}
        for name, tunable in self._space.items():
            value = _read(tunable, texts[name])
            distribution = self._distributions[name]
            if value is None or not distribution._contains(distribution.to_internal_repr(value)):
                return None
            params[name] = value
        return params

    def _enqueue_grid(self, finished: Sequence[TrialRecord]) -> None:
        """Every combination of categories that no trial has had, in the order in which they are written."""
        done = [dict(record.hyperparameters) for record in finished]
        for combination in grid(self._space):
            if {name: str(value) for name, value in combination.items()} not in done:
                self._study.enqueue_trial(combination)


def grid(space: Space) -> list[dict[str, Scalar]]:
    """Every combination of categories."""
    choices = [tunable.values for tunable in space.values() if isinstance(tunable, Categories)]
    return [dict(zip(space, values, strict=True)) for values in itertools.product(*choices)]


def _read(tunable: Tunable, text: str) -> Scalar | None:
    """What Optuna drew, from the text of the hyperparameter; None where the text is no value of the tunable."""
    if isinstance(tunable, Categories):
        return next((value for value in tunable.values if str(value) == text), None)
    try:
        return value_of(tunable, int(text) if tunable.is_integer else float(text))
    except ValueError:
        return None


def _sampler(spec: TuningSpec, num_finished: int) -> optuna.samplers.BaseSampler:
    """The sampler; after an interruption its random draws go on with another seed, not with the same draws again."""
    seed = spec.seed + num_finished
    if spec.strategy in ("Random", "Grid"):
        return optuna.samplers.RandomSampler(seed=seed)
    if spec.sampler == "gp" and spec.strategy == "Bayesian":
        return optuna.samplers.GPSampler(seed=seed)
    return optuna.samplers.TPESampler(seed=seed, constant_liar=spec.max_parallel_jobs > 1)


def _pruner(spec: TuningSpec) -> optuna.pruners.BasePruner:
    return optuna.pruners.HyperbandPruner() if spec.strategy == "Hyperband" else optuna.pruners.NopPruner()
