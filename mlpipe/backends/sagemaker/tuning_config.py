"""What a tuning job searches and how, as SageMaker is told: strategy, limits, ranges, early stopping, seed.

https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_HyperParameterTuningJobConfig.html
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sagemaker.core.shapes import (
    BestObjectiveNotImproving,
    CategoricalParameterRange,
    ContinuousParameterRange,
    HyperbandStrategyConfig,
    HyperParameterTuningJobConfig,
    HyperParameterTuningJobObjective,
    HyperParameterTuningJobStrategyConfig,
    IntegerParameterRange,
    ParameterRanges,
    ResourceLimits,
    TuningJobCompletionCriteria,
)

from mlpipe.specs import Scalar, TuningSpec
from mlpipe.tuning.space import Categories, Interval, Space, parse_space

_SCALES = {"linear": "Linear", "log": "Logarithmic", "reverse log": "ReverseLogarithmic"}


def tuning_config(tuning: TuningSpec, constants: Mapping[str, Scalar]) -> HyperParameterTuningJobConfig:
    """The configuration of a tuning job; `constants` are the hyperparameters that all trials share."""
    given: dict[str, Any] = {}
    if tuning.strategy == "Hyperband":
        epochs = int(constants["epochs"])
        given["strategy_config"] = HyperParameterTuningJobStrategyConfig(
            hyperband_strategy_config=HyperbandStrategyConfig(min_resource=1, max_resource=epochs)
        )
    if criteria := _criteria(tuning):
        given["tuning_job_completion_criteria"] = TuningJobCompletionCriteria(**criteria)
    stops_early = tuning.stops_early and tuning.strategy != "Hyperband"  # which has its own, and takes no other
    return HyperParameterTuningJobConfig(
        strategy=tuning.strategy,
        hyper_parameter_tuning_job_objective=HyperParameterTuningJobObjective(
            type="Maximize" if tuning.maximizes else "Minimize", metric_name=tuning.objective
        ),
        resource_limits=_limits(tuning),
        parameter_ranges=parameter_ranges(parse_space(tuning.space)),
        training_job_early_stopping_type="Auto" if stops_early else "Off",
        random_seed=tuning.seed,
        **given,
    )


def parameter_ranges(space: Space) -> ParameterRanges:
    """The space as the service's ranges; a kind of which there is none is left out."""
    found: dict[str, list[Any]] = {}
    for name, tunable in space.items():
        kind, entry = _range(name, tunable)
        found.setdefault(kind, []).append(entry)
    return ParameterRanges(**found)


def _range(name: str, tunable: Categories | Interval) -> tuple[str, Any]:
    if isinstance(tunable, Categories):
        return "categorical_parameter_ranges", CategoricalParameterRange(name=name, values=list(tunable.texts))
    low, high = tunable.texts
    given = {"name": name, "min_value": low, "max_value": high, "scaling_type": _SCALES[tunable.scale]}
    if tunable.is_integer:
        return "integer_parameter_ranges", IntegerParameterRange(**given)
    return "continuous_parameter_ranges", ContinuousParameterRange(**given)


def _limits(tuning: TuningSpec) -> ResourceLimits:
    given = {"max_runtime_in_seconds": round(tuning.max_minutes * 60)} if tuning.max_minutes else {}
    if tuning.strategy != "Grid":  # whose number of trials is that of its combinations
        given["max_number_of_training_jobs"] = tuning.max_jobs
    return ResourceLimits(max_parallel_training_jobs=tuning.max_parallel_jobs, **given)


def _criteria(tuning: TuningSpec) -> dict[str, Any]:
    criteria: dict[str, Any] = {}
    if tuning.target_value is not None:
        criteria["target_objective_metric_value"] = tuning.target_value
    if tuning.patience:
        criteria["best_objective_not_improving"] = BestObjectiveNotImproving(
            max_number_of_training_jobs_not_improving=tuning.patience
        )
    return criteria
