"""Requests that the service takes, for tests that change a part of them."""

from __future__ import annotations

from typing import Any

ROLE = "arn:aws:iam::123456789012:role/jobs"
IMAGE = "123456789012.dkr.ecr.us-east-1.amazonaws.com/mlpipe:1"


def training_request(bucket: str, name: str = "job", **changes: Any) -> dict[str, Any]:
    """A training job without channels; a change of None takes a member out."""
    request = {
        "TrainingJobName": name,
        "AlgorithmSpecification": {"TrainingImage": IMAGE, "TrainingInputMode": "File"},
        "RoleArn": ROLE,
        "OutputDataConfig": {"S3OutputPath": f"s3://{bucket}/out/", "CompressionType": "NONE"},
        "ResourceConfig": {"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 10},
        "StoppingCondition": {"MaxRuntimeInSeconds": 600},
    }
    return _changed(request, changes)


def spot_request(bucket: str, name: str = "job", **changes: Any) -> dict[str, Any]:
    """A training job on spot instances, with checkpoints."""
    spot = {
        "EnableManagedSpotTraining": True,
        "StoppingCondition": {"MaxRuntimeInSeconds": 600, "MaxWaitTimeInSeconds": 1200},
        "CheckpointConfig": {"S3Uri": f"s3://{bucket}/checkpoints/{name}/"},
    }
    return training_request(bucket, name, **{**spot, **changes})


def processing_request(bucket: str, name: str = "job", step: str = "reconcile", **changes: Any) -> dict[str, Any]:
    """A processing job with one output, `result`."""
    output = {
        "S3Uri": f"s3://{bucket}/out/{name}/",
        "LocalPath": "/opt/ml/processing/output/result",
        "S3UploadMode": "EndOfJob",
    }
    cluster = {"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 10}
    request = {
        "ProcessingJobName": name,
        "AppSpecification": {"ImageUri": IMAGE, "ContainerArguments": [step]},
        "RoleArn": ROLE,
        "ProcessingResources": {"ClusterConfig": cluster},
        "ProcessingOutputConfig": {"Outputs": [{"OutputName": "result", "S3Output": output}]},
        "StoppingCondition": {"MaxRuntimeInSeconds": 600},
    }
    return _changed(request, changes)


def tuning_request(
    bucket: str, name: str = "tune", *, trials: int = 3, parallel: int = 2, config: Any = None, **changes: Any
) -> dict[str, Any]:
    """A tuning job that maximises `score` over `x`; `config` changes its configuration, the rest its definition."""
    definition = training_request(bucket, "unused", TrainingJobName=None)
    definition["AlgorithmSpecification"] |= {
        "MetricDefinitions": [{"Name": "score", "Regex": r"score=(-?[0-9.]+)"}],
    }
    own = {
        "Strategy": "Bayesian",
        "HyperParameterTuningJobObjective": {"Type": "Maximize", "MetricName": "score"},
        "ResourceLimits": {"MaxNumberOfTrainingJobs": trials, "MaxParallelTrainingJobs": parallel},
        "ParameterRanges": {"ContinuousParameterRanges": [{"Name": "x", "MinValue": "0", "MaxValue": "1"}]},
        "RandomSeed": 7,
    }
    return {
        "HyperParameterTuningJobName": name,
        "HyperParameterTuningJobConfig": _changed(own, config or {}),
        "TrainingJobDefinition": _changed(definition, changes),
    }


def channel(name: str, uri: str) -> dict[str, Any]:
    """An entry of InputDataConfig."""
    return {"ChannelName": name, "DataSource": {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": uri}}}


def _changed(request: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in {**request, **changes}.items() if value is not None}
