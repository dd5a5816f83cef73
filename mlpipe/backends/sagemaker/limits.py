"""What botocore does not check before it sends a request: lengths, counts, ranges, enumerations, unknown members.

They are read from the service model that botocore ships, so that they are the service's own. Patterns are left to the
settings, whose values are all that a user writes into a request.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from functools import cache
from typing import Any

import botocore.session
from botocore.model import ServiceModel, Shape

from mlpipe.backends.sagemaker.kinds import KINDS
from mlpipe.backends.sagemaker.requests import Request
from mlpipe.errors import SettingsError

_SETTINGS = {
    "InstanceType": "[SAGEMAKER] INSTANCE_TYPE or PROCESSING_INSTANCE_TYPE",
    "MaxRuntimeInSeconds": "[SAGEMAKER] MAX_RUNTIME",
    "Environment": "[SAGEMAKER] ENVIRONMENT",
    "Tags": "[SAGEMAKER] TAGS",
    "HyperParameters": "[HYPERPARAMETERS] and [USER_HYPERPARAMETERS]",
    "StaticHyperParameters": "[HYPERPARAMETERS] and [USER_HYPERPARAMETERS]",
    "InputDataConfig": "[EXPERIMENT] STORAGE",
}
"""The settings behind a member of a request."""

MAX_HYPERPARAMETER = 256
"""Characters of a name or value: the documentation says 256, the model 2,500."""

MAX_TRIAL_VARIABLES = 48
"""Environment variables of a trial: the documentation says 48, the model 100."""


def check_limits(request: Request) -> None:
    """Raise SettingsError with everything in a request that the service would refuse."""
    body = request.body()
    problems = [*_violations(_model().operation_model(KINDS[request.kind].creation).input_shape, body, "")]
    problems += [
        f"HyperParameters.{name}: {len(str(value))} characters, of which {MAX_HYPERPARAMETER} are allowed"
        for name, value in body.get("HyperParameters", {}).items()
        if max(len(name), len(value)) > MAX_HYPERPARAMETER
    ]
    variables = body.get("TrainingJobDefinition", {}).get("Environment", {})
    if len(variables) > MAX_TRIAL_VARIABLES:
        problems.append(f"Environment: {len(variables)} entries, of which {MAX_TRIAL_VARIABLES} are allowed in trials")
    if problems:
        lines = "\n  ".join(f"{problem}{_origin(problem)}" for problem in problems)
        raise SettingsError(f"SageMaker would refuse the job {request.name}:\n  {lines}")


@cache
def _model() -> ServiceModel:
    data = botocore.session.get_session().get_component("data_loader").load_service_model("sagemaker", "service-2")
    return ServiceModel(data, "sagemaker")


def _violations(shape: Shape, value: Any, path: str) -> Iterator[str]:
    """Everything below one value that its shape does not allow."""
    where = path.removeprefix(".")
    match shape.type_name:
        case "structure":
            for name, member in value.items():
                if name in shape.members:
                    yield from _violations(shape.members[name], member, f"{path}.{name}")
                else:
                    yield f"{path}.{name}".removeprefix(".") + ": the service knows no such member"
        case "map":
            yield from _out_of_range(shape, len(value), where, "entries")
            for name, member in value.items():
                yield from _violations(shape.key, name, f"{path}.{name}")
                yield from _violations(shape.value, member, f"{path}.{name}")
        case "list":
            yield from _out_of_range(shape, len(value), where, "entries")
            for number, member in enumerate(value):
                yield from _violations(shape.member, member, f"{path}[{number}]")
        case "string" if choices := shape.metadata.get("enum"):
            if value not in choices:
                close = difflib.get_close_matches(value, choices, 1)
                yield f"{where}: {value!r} is unknown{f'; did you mean {close[0]}?' if close else ''}"
        case "string":
            yield from _out_of_range(shape, len(value), where, "characters")
        case "integer" | "long" | "double" | "float":
            yield from _out_of_range(shape, value, where, "")


def _out_of_range(shape: Shape, number: float, where: str, unit: str) -> Iterator[str]:
    low, high = shape.metadata.get("min"), shape.metadata.get("max")
    if low is not None and number < low:
        yield f"{where}: {number} {unit}".rstrip() + f", of which at least {low} are needed"
    if high is not None and number > high:
        yield f"{where}: {number} {unit}".rstrip() + f", of which at most {high} are allowed"


def _origin(problem: str) -> str:
    """The settings that a problem comes from, in brackets."""
    member = next((setting for name, setting in _SETTINGS.items() if name in problem.partition(":")[0]), "")
    return f" ({member})" if member else ""
