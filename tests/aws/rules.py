"""What the service asks of a request beyond its model, and what this fake would otherwise have to ignore."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import chain
from typing import Any

from aws.refusals import invalid, unsupported

OBJECTIVE_HYPERPARAMETER = "_tuning_objective_metric"
BASE = "/opt/ml"
MAX_TRIALS, MAX_PARALLEL_TRIALS, MAX_RANGES = 750, 100, 30

Body = Mapping[str, Any]


def check_rules(operation: str, body: Body) -> None:
    """Raise ApiError (ValidationException) with every rule that the request breaks."""
    broken = list(_RULES[operation](body)) if operation in _RULES else []
    if broken:
        raise invalid("; ".join(broken))


def ranges(config: Body) -> list[tuple[str, Body]]:
    """The searched hyperparameters of a tuning job: (kind, range), in the order of the request."""
    found = config.get("ParameterRanges", {})
    kinds = {"CategoricalParameterRanges": "categorical", "IntegerParameterRanges": "integer"}
    return [(kinds.get(key, "continuous"), entry) for key, entries in found.items() for entry in entries]


def _training(body: Body) -> Iterator[str]:
    for key in ("ResourceConfig", "StoppingCondition"):
        if key not in body:
            yield f"{key} is required"
    yield from _machines(body.get("ResourceConfig", {}), "ResourceConfig")
    yield from _job(body)


def _job(body: Body) -> Iterator[str]:
    """What a training job and the definition of a tuning job's trials have in common."""
    algorithm = body["AlgorithmSpecification"]
    if "TrainingImage" not in algorithm:
        yield "AlgorithmSpecification needs a TrainingImage"
    yield from _waiting(body)
    yield from _duplicates("ChannelName", [channel["ChannelName"] for channel in body.get("InputDataConfig", [])])
    for channel in body.get("InputDataConfig", []):
        _check_channel(channel, algorithm["TrainingInputMode"])
    yield from _is_s3(body["OutputDataConfig"]["S3OutputPath"])
    checkpoints = body.get("CheckpointConfig")
    if checkpoints:
        yield from _is_s3(checkpoints["S3Uri"])
        if not f"{checkpoints.get('LocalPath', BASE + '/checkpoints')}/".startswith(f"{BASE}/checkpoints/"):
            raise unsupported(f"a CheckpointConfig.LocalPath outside {BASE}/checkpoints")


def _waiting(body: Body) -> Iterator[str]:
    limits = body.get("StoppingCondition", {})
    wait, is_spot = limits.get("MaxWaitTimeInSeconds"), body.get("EnableManagedSpotTraining", False)
    if is_spot and (wait is None or wait < limits.get("MaxRuntimeInSeconds", 86_400)):
        yield "Invalid MaxWaitTimeInSeconds. It must be present and be greater than or equal to MaxRuntimeInSeconds"
    if not is_spot and wait is not None:
        yield "MaxWaitTimeInSeconds can only be given where EnableManagedSpotTraining is true"
    if is_spot and body.get("ResourceConfig", {}).get("KeepAlivePeriodInSeconds"):
        yield "KeepAlivePeriodInSeconds cannot be given where EnableManagedSpotTraining is true"


def _machines(config: Body, name: str) -> Iterator[str]:
    if "InstanceGroups" in config or "InstancePreferences" in config or "InstanceConfigs" in config:
        raise unsupported(f"{name} with anything but InstanceType and InstanceCount")
    for key in ("InstanceType", "InstanceCount", "VolumeSizeInGB"):
        if config and not config.get(key):
            yield f"{name}.{key} is required, and more than 0"


def _check_channel(channel: Body, mode: str) -> None:
    source = channel["DataSource"].get("S3DataSource")
    if source is None or source["S3DataType"] != "S3Prefix":
        raise unsupported("data sources other than S3DataSource with S3Prefix")
    if channel.get("InputMode", mode) == "Pipe":
        raise unsupported("the input mode Pipe")
    if channel.get("CompressionType", "None") != "None" or channel.get("RecordWrapperType", "None") != "None":
        raise unsupported("channels that it would have to unpack or wrap")


def _processing(body: Body) -> Iterator[str]:
    yield from _machines(body["ProcessingResources"]["ClusterConfig"], "ClusterConfig")
    inputs = body.get("ProcessingInputs", [])
    outputs = body.get("ProcessingOutputConfig", {}).get("Outputs", [])
    if body["AppSpecification"].get("ContainerEntrypoint"):
        raise unsupported("ContainerEntrypoint: its command plays the image's own")
    yield from _duplicates("InputName", [entry["InputName"] for entry in inputs])
    yield from _duplicates("OutputName", [entry["OutputName"] for entry in outputs])
    places = [_place(entry, "S3Input") for entry in inputs] + [_place(entry, "S3Output") for entry in outputs]
    for uri, path in places:
        yield from _is_s3(uri)
        if not path.startswith(f"{BASE}/processing/") or ".." in path.split("/"):
            yield f"LocalPath {path!r} must lie below {BASE}/processing/"
    yield from _duplicates("LocalPath", [path.rstrip("/") for _, path in places])


def _place(entry: Body, key: str) -> tuple[str, str]:
    if key not in entry or entry.get("AppManaged"):
        raise unsupported(f"processing inputs and outputs without {key}")
    if entry[key].get("S3DataType", "S3Prefix") != "S3Prefix" or entry[key].get("S3InputMode", "File") != "File":
        raise unsupported("processing inputs other than S3Prefix in the mode File")
    return entry[key]["S3Uri"], entry[key].get("LocalPath", "")


def _tuning(body: Body) -> Iterator[str]:
    for key in ("TrainingJobDefinitions", "WarmStartConfig", "Autotune"):
        if key in body:
            raise unsupported(key)
    if "TrainingJobDefinition" not in body:
        yield "TrainingJobDefinition is required"
        return
    config, definition = body["HyperParameterTuningJobConfig"], body["TrainingJobDefinition"]
    yield from _job(definition)
    keys = [key for key in ("ResourceConfig", "HyperParameterTuningResourceConfig") if key in definition]
    if len(keys) != 1:
        yield "one of ResourceConfig and HyperParameterTuningResourceConfig is required"
    for key in keys:
        yield from _machines(definition[key], key)
    yield from _trial_limits(config)
    yield from _objective(config, definition)
    yield from _names(config, definition)
    yield from chain.from_iterable(_range(kind, entry) for kind, entry in ranges(config))
    yield from _strategy(config)


def _trial_limits(config: Body) -> Iterator[str]:
    limits = config["ResourceLimits"]
    trials, parallel = limits.get("MaxNumberOfTrainingJobs"), limits["MaxParallelTrainingJobs"]
    if trials is None and config["Strategy"] != "Grid":
        yield "MaxNumberOfTrainingJobs is required"
    if (trials or 0) > MAX_TRIALS or parallel > MAX_PARALLEL_TRIALS:
        yield f"at most {MAX_TRIALS} training jobs, {MAX_PARALLEL_TRIALS} of them at a time"
    if trials is not None and parallel > trials:
        yield "MaxParallelTrainingJobs must not be greater than MaxNumberOfTrainingJobs"
    criteria = config.get("TuningJobCompletionCriteria", {})
    if set(criteria) - {"TargetObjectiveMetricValue"}:
        raise unsupported("completion criteria other than TargetObjectiveMetricValue")


def _objective(config: Body, definition: Body) -> Iterator[str]:
    objective = config.get("HyperParameterTuningJobObjective")
    if objective is None:
        yield "HyperParameterTuningJobObjective is required"
        return
    metrics = [metric["Name"] for metric in definition["AlgorithmSpecification"].get("MetricDefinitions", [])]
    if objective["MetricName"] not in metrics:
        yield f"the objective metric {objective['MetricName']!r} is not one of MetricDefinitions: {metrics}"
    yield from _duplicates("metric", metrics)


def _names(config: Body, definition: Body) -> Iterator[str]:
    searched = [entry["Name"] for _, entry in ranges(config)]
    static = definition.get("StaticHyperParameters", {})
    yield from _duplicates("hyperparameter", searched)
    if not searched or len(searched) > MAX_RANGES:
        yield f"ParameterRanges must name 1 to {MAX_RANGES} hyperparameters"
    if set(searched) & set(static):
        yield f"hyperparameters both searched and static: {sorted(set(searched) & set(static))}"
    if OBJECTIVE_HYPERPARAMETER in {*searched, *static}:
        yield f"{OBJECTIVE_HYPERPARAMETER} is reserved"


def _range(kind: str, entry: Body) -> Iterator[str]:
    if kind == "categorical":
        yield from _duplicates(f"value of {entry['Name']}", entry["Values"])
        return
    try:
        low, high = (float(entry[key]) for key in ("MinValue", "MaxValue"))
        if kind == "integer":
            int(entry["MinValue"]), int(entry["MaxValue"])
    except ValueError:
        yield f"{entry['Name']}: MinValue and MaxValue must be the text of {kind} numbers"
        return
    scale = entry.get("ScalingType", "Auto")
    if low > high:
        yield f"{entry['Name']}: MinValue is greater than MaxValue"
    if scale == "Logarithmic" and low <= 0:
        yield f"{entry['Name']}: a Logarithmic range must be above 0"
    if scale == "ReverseLogarithmic" and (kind == "integer" or not 0 <= low <= high < 1):
        yield f"{entry['Name']}: a ReverseLogarithmic range must be continuous, and within 0 <= x < 1"


def _strategy(config: Body) -> Iterator[str]:
    if config["Strategy"] == "Grid" and any(kind != "categorical" for kind, _ in ranges(config)):
        yield "Grid searches categorical hyperparameters alone"
    if config["Strategy"] == "Hyperband" and config.get("TrainingJobEarlyStoppingType", "Off") != "Off":
        yield "Hyperband has its own early stopping: TrainingJobEarlyStoppingType must be Off"


def _is_s3(uri: str) -> Iterator[str]:
    if not uri.startswith("s3://"):
        yield f"{uri} is no s3:// address"


def _duplicates(what: str, names: Sequence[str]) -> Iterator[str]:
    for name in sorted({name for name in names if names.count(name) > 1}):
        yield f"duplicate {what}: {name}"


_RULES: dict[str, Callable[[Body], Iterator[str]]] = {
    "CreateTrainingJob": _training,
    "CreateProcessingJob": _processing,
    "CreateHyperParameterTuningJob": _tuning,
}
