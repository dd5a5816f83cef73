"""A request's body against botocore's model of the service: types, names, lengths, patterns, and enumerations.

botocore's own client checks types, required and unknown members, and minima; the service checks the rest, too.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

import botocore.session
import regex
from aws.refusals import ApiError, invalid
from botocore.model import OperationModel, ServiceModel, Shape
from botocore.validate import ParamValidator


@cache
def service_model() -> ServiceModel:
    """botocore's model of SageMaker."""
    return botocore.session.Session().get_service_model("sagemaker")


def operation_model(name: str) -> OperationModel:
    """The model of one operation; ApiError where the service has none of that name."""
    if name not in service_model().operation_names:
        raise ApiError("UnknownOperationException", f"SageMaker has no operation {name!r}")
    return service_model().operation_model(name)


def check_body(operation: str, body: Mapping[str, Any]) -> None:
    """Raise ApiError (ValidationException) with everything in which the body differs from the model."""
    shape = operation_model(operation).input_shape
    report = ParamValidator().validate(body, shape)
    if report.has_errors():
        raise invalid(report.generate_report())
    violations = list(_violations(body, shape, ""))
    if violations:
        count = f"{len(violations)} validation error{'s'[: len(violations) > 1]} detected"
        raise invalid(f"{count}: {'; '.join(violations)}")


def _violations(value: Any, shape: Shape, path: str) -> Iterator[str]:
    """What ParamValidator does not look at, in the service's words."""
    failed = f"Value {value!r} at '{path}' failed to satisfy constraint: Member must "
    maximum = shape.metadata.get("max")
    if shape.type_name == "structure":
        for name, member in value.items():
            yield from _violations(member, shape.members[name], _joined(path, name))
    elif shape.type_name in ("list", "map", "string"):
        if maximum is not None and len(value) > maximum:
            yield f"{failed}have length less than or equal to {maximum}"
        yield from _inner_violations(value, shape, path, failed)
    elif maximum is not None and value > maximum:
        yield f"{failed}have value less than or equal to {maximum}"


def _inner_violations(value: Any, shape: Shape, path: str, failed: str) -> Iterator[str]:
    if shape.type_name == "list":
        for number, item in enumerate(value, start=1):
            yield from _violations(item, shape.member, f"{path}.{number}.member")
    elif shape.type_name == "map":
        for key, item in value.items():
            yield from _violations(key, shape.key, f"{path}.key")
            yield from _violations(item, shape.value, f"{path}.{key}.member")
    else:
        if getattr(shape, "enum", None) and value not in shape.enum:
            yield f"{failed}satisfy enum value set: [{', '.join(shape.enum)}]"
        pattern = shape.metadata.get("pattern")
        if pattern and not regex.fullmatch(pattern, value):
            yield f"{failed}satisfy regular expression pattern: {pattern}"


def _joined(path: str, name: str) -> str:
    name = name[0].lower() + name[1:]
    return f"{path}.{name}" if path else name
