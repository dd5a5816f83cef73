"""A tuning job's request: its definition is a training's, and the search arrives as it was meant."""

from __future__ import annotations

from typing import Any

import pytest
from unit.backends.sagemaker.conftest import Load, job
from unit.backends.sagemaker.test_requests import EVERYTHING, request
from unit.tuning.test_sampling import spec as tuning

from mlpipe.specs import JobKind

SPACE = {
    "learning_rate": "1e-05 -> 0.001 log",
    "momentum": "0.9 -> 0.999 reverse log",
    "depth": "1 -> 8",
    "batch_size": "16, 32",
}


def body(load: Load, *overrides: str, **changes: Any) -> dict[str, Any]:
    settings = load(*overrides)
    spec = job(
        JobKind.TUNING,
        "tune-m",
        hyperparameters={"epochs": 4},
        checkpoints="demo/runs/7/checkpoints/m",
        tuning=tuning(SPACE, max_parallel_jobs=2, stops_early=True, regex=r"f1=([0-9.]+)", **changes),
    )
    return request(settings, spec)


def test_the_search_arrives(load: Load):
    found = body(load, target_value=0.9)
    assert found["HyperParameterTuningJobName"].startswith("mlpipe-")
    assert len(found["HyperParameterTuningJobName"]) <= 32
    assert found["HyperParameterTuningJobConfig"] == {
        "Strategy": "Bayesian",
        "HyperParameterTuningJobObjective": {"Type": "Maximize", "MetricName": "f1"},
        "ResourceLimits": {"MaxNumberOfTrainingJobs": 20, "MaxParallelTrainingJobs": 2},
        "ParameterRanges": {
            "ContinuousParameterRanges": [
                {"Name": "learning_rate", "MinValue": "1e-05", "MaxValue": "0.001", "ScalingType": "Logarithmic"},
                {"Name": "momentum", "MinValue": "0.9", "MaxValue": "0.999", "ScalingType": "ReverseLogarithmic"},
            ],
            "IntegerParameterRanges": [{"Name": "depth", "MinValue": "1", "MaxValue": "8", "ScalingType": "Linear"}],
            "CategoricalParameterRanges": [{"Name": "batch_size", "Values": ["16", "32"]}],
        },
        "TrainingJobEarlyStoppingType": "Auto",
        "RandomSeed": 3,
        "TuningJobCompletionCriteria": {"TargetObjectiveMetricValue": 0.9},
    }
    assert {"Key": "mlpipe:attempt", "Value": "demo/runs/7/attempts/tune-m-0123456789ab"} in found["Tags"]


def test_the_definition_of_trials_is_that_of_a_training(load: Load):
    overrides = [*EVERYTHING, "training.use_distributed=yes"]
    definition = body(load, *overrides)["TrainingJobDefinition"]
    training = request(load(*overrides), job(checkpoints="demo/runs/7/checkpoints/m"))
    for member in (
        "RoleArn",
        "InputDataConfig",
        "ResourceConfig",
        "StoppingCondition",
        "EnableNetworkIsolation",
        "EnableInterContainerTrafficEncryption",
        "EnableManagedSpotTraining",
        "CheckpointConfig",
        "VpcConfig",
        "Environment",
    ):
        assert member in definition
        if member != "InputDataConfig":
            assert definition[member] == training[member], member
    assert definition["OutputDataConfig"]["KmsKeyId"] == "alias/results"
    assert definition["StaticHyperParameters"] == {"epochs": "4"}
    assert definition["AlgorithmSpecification"]["MetricDefinitions"] == [{"Name": "f1", "Regex": "f1=([0-9.]+)"}]


@pytest.mark.parametrize(("maximizes", "word"), [(True, "Maximize"), (False, "Minimize")])
def test_the_direction_arrives(load: Load, maximizes: bool, word: str):
    config = body(load, maximizes=maximizes)["HyperParameterTuningJobConfig"]
    assert config["HyperParameterTuningJobObjective"]["Type"] == word


def test_hyperband_has_its_resource_and_its_own_early_stopping(load: Load):
    config = body(load, strategy="Hyperband")["HyperParameterTuningJobConfig"]
    assert config["StrategyConfig"] == {"HyperbandStrategyConfig": {"MinResource": 1, "MaxResource": 4}}
    assert config["TrainingJobEarlyStoppingType"] == "Off"


def test_a_grid_has_as_many_trials_as_combinations(load: Load):
    settings = load()
    spec = job(JobKind.TUNING, "tune-m", hyperparameters={"epochs": 4}, tuning=tuning({"a": "1, 2"}, strategy="Grid"))
    config = request(settings, spec)["HyperParameterTuningJobConfig"]
    assert config["ResourceLimits"] == {"MaxParallelTrainingJobs": 1}
