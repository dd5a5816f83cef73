"""The kinds of value that a setting can have: how each is read from text, checked, and described in words."""

from __future__ import annotations

import configparser
import keyword
import math
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import PurePath
from types import NoneType
from typing import Annotated, Any, Literal, get_args, get_origin
from urllib.parse import urlsplit

import annotated_types
from pydantic import AfterValidator, BeforeValidator
from pydantic.fields import FieldInfo
from pydantic_core import PydanticCustomError

from mlpipe.settings.problems import shown
from mlpipe.specs import Scalar

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}\Z")
_NAME_RULE = "letters, digits, '.', '_' and '-', first a letter or a digit, at most 63 characters, no '..'"
_INTEGER = re.compile(r"[+-]?[0-9]+\Z")
_DECIMAL = re.compile(r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?\Z")
_NOT_FINITE = re.compile(r"[+-]?(nan|inf|infinity)\Z", re.IGNORECASE)
_BUCKET = r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]"
_S3_URI = re.compile(rf"s3://(?!.*(\.\.|/\.(/|\Z))){_BUCKET}(/[\w!.*'()=-]+)*/?\Z", re.ASCII)
_HUB_METRIC = re.compile(r"hub:[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?\Z", re.ASCII)
_MAX_SCALAR = 256
_MAX_MODELS = 100

METRIC_NAMES = (
    *("f1", "accuracy", "precision", "recall"),
    *("f1_micro", "f1_weighted", "precision_micro", "precision_weighted", "recall_micro", "recall_weighted"),
    *("mcc", "log_loss"),
)
"""The metrics that mlpipe computes itself."""


def refused(reason: str, *fields: str) -> PydanticCustomError:
    """The error of a validator whose own words go into the message; `fields` are those that contradict each other."""
    return PydanticCustomError("setting", "{reason}", {"reason": reason, "fields": fields})


@dataclass(frozen=True)
class Expected:
    """What a value may be, in words, where type and range do not say it."""

    text: str


def _one_line(text: str | None) -> str | None:
    if text is not None and (not text or "\n" in text):
        raise ValueError
    return text


def _name(text: str) -> str:
    if not _NAME.match(text) or ".." in text:
        raise refused(f"{shown(text)} is no name: expected {_NAME_RULE}")
    return text


def _model_names(names: tuple[str, ...]) -> tuple[str, ...]:
    if not 1 <= len(names) <= _MAX_MODELS:
        raise refused(f"expected 1 to {_MAX_MODELS} names")
    return _distinct(tuple(_name(name) for name in names))


def _metrics(names: tuple[str, ...]) -> tuple[str, ...]:
    if not names:
        raise refused("expected at least one metric")
    return _distinct(names)


def _metric(name: str) -> str:
    if name not in METRIC_NAMES and not _HUB_METRIC.match(name):
        raise ValueError
    return name


def _patterns(patterns: tuple[str, ...]) -> tuple[str, ...]:
    if len(", ".join(patterns)) > _MAX_SCALAR:
        raise refused(f"expected at most {_MAX_SCALAR} characters")
    return patterns


def _distinct(names: tuple[str, ...]) -> tuple[str, ...]:
    seen: set[str] = set()
    for name in names:
        if name.lower() in seen:
            raise refused(f"{shown(name)} is named twice (upper and lower case count as the same)")
        seen.add(name.lower())
    return names


def _storage(text: str) -> str:
    if "://" not in text:
        return text
    if not _S3_URI.match(text) or len(text) > _MAX_SCALAR:
        raise refused("expected a folder or s3://bucket/prefix, of letters, digits and !_.*'()=-")
    return text.rstrip("/")


def matches(pattern: str) -> AfterValidator:
    """The check of an optional text against a pattern."""

    def check(text: str | None) -> str | None:
        if text is not None and not re.fullmatch(pattern, text, re.ASCII):
            raise ValueError
        return text

    return AfterValidator(check)


def _server_address(text: str) -> str:
    address = urlsplit(text)
    if address.scheme not in ("http", "https") or not address.hostname or len(text.split()) != 1:
        raise ValueError
    if "@" in address.netloc or address.query:
        raise refused("an address with credentials in it is refused: leave them to the environment")
    return text


def _python_path(text: str) -> str:
    name = PurePath(text).name.removesuffix(".py")
    if "://" in text or not name.isidentifier() or keyword.iskeyword(name):
        raise refused("expected the path of a Python package or module: its last part has to be a Python identifier")
    return text


def from_list(value: object) -> object:
    """Comma separated text to its parts; "" has none."""
    if not isinstance(value, str):
        return value
    parts = tuple(part.strip() for part in value.split(",")) if value else ()
    if "" in parts:
        raise refused("an entry of the list is empty: expected values with one comma between two of them")
    if any("\n" in part for part in parts):
        raise refused("expected a comma between two lines of a list")
    return parts


def from_integer(value: object) -> object:
    """Text that is no whole number is refused; anything else is left as it is."""
    if isinstance(value, str) and not _INTEGER.match(value):
        raise ValueError
    return value


def from_decimal(value: object) -> object:
    """Text that is no decimal number is refused; anything else is left as it is."""
    if isinstance(value, str) and not _DECIMAL.match(value):
        raise ValueError
    return value


def from_auto(value: object) -> object:
    """auto to None."""
    return None if isinstance(value, str) and value.lower() == "auto" else from_integer(value)


def _from_flag(value: object) -> object:
    if not isinstance(value, str):
        return value
    try:
        return configparser.ConfigParser.BOOLEAN_STATES[value.lower()]
    except KeyError:
        raise ValueError from None


def from_optional(value: object) -> object:
    """ "" to None, which stands for nothing."""
    return None if value == "" else value


WholeNumber = Annotated[int, BeforeValidator(from_integer)]
Number = Annotated[float, BeforeValidator(from_decimal)]
AutoOrWholeNumber = Annotated[int | None, BeforeValidator(from_auto)]
Flag = Annotated[bool, BeforeValidator(_from_flag), Expected("yes or no")]
OptionalText = Annotated[
    str | None, BeforeValidator(from_optional), AfterValidator(_one_line), Expected("text on one line, or nothing")
]
Name = Annotated[str, AfterValidator(_name), Expected(_NAME_RULE)]
OptionalName = Annotated[
    Annotated[str, AfterValidator(_name)] | None,
    BeforeValidator(from_optional),
    Expected(f"{_NAME_RULE}; or nothing"),
]
ServerAddress = Annotated[
    Annotated[str, AfterValidator(_server_address)] | None,
    BeforeValidator(from_optional),
    Expected("an address that begins with http:// or https:// and holds no password, or nothing"),
]
ModelNames = Annotated[
    tuple[str, ...],
    BeforeValidator(from_list),
    AfterValidator(_model_names),
    Expected(f"1 to {_MAX_MODELS} names separated by commas; each of {_NAME_RULE}"),
]
PythonPath = Annotated[
    str,
    AfterValidator(_one_line),
    AfterValidator(_python_path),
    Expected("the path of a Python package (a folder) or module (.py)"),
]
StoragePlace = Annotated[
    str,
    AfterValidator(_one_line),
    AfterValidator(_storage),
    Expected("the path of a local folder, or s3://bucket/prefix"),
]
Region = Annotated[
    str | None,
    BeforeValidator(from_optional),
    matches(r"[a-z]{2,3}(-[a-z]+)+-[0-9]{1,2}"),
    Expected("the name of an AWS region, such as eu-central-1, or nothing"),
]
KmsKey = Annotated[
    str | None,
    BeforeValidator(from_optional),
    matches(r"[\w:/-]{1,256}"),
    Expected("the id, the alias (alias/...) or the ARN of a KMS key, or nothing"),
]
AccountId = Annotated[
    str | None,
    BeforeValidator(from_optional),
    matches(r"[0-9]{12}"),
    Expected("an account id of 12 digits, or nothing"),
]
SecretPlace = Annotated[
    str | None,
    BeforeValidator(from_optional),
    matches(r"(secretsmanager|ssm):[\w:/+=.@-]{1,256}"),
    Expected("secretsmanager:<name> or ssm:<name>, or nothing; never the key itself"),
]
Paths = Annotated[tuple[str, ...], BeforeValidator(from_list), Expected("paths separated by commas, or nothing")]
Patterns = Annotated[
    tuple[str, ...],
    BeforeValidator(from_list),
    AfterValidator(_patterns),
    Expected("patterns separated by commas, or nothing"),
]
Metric = Annotated[
    str, AfterValidator(_metric), Expected(f"one of METRICS: {', '.join(METRIC_NAMES)} or hub:<a name on the hub>")
]
Metrics = Annotated[
    tuple[Annotated[str, AfterValidator(_metric)], ...],
    BeforeValidator(from_list),
    AfterValidator(_metrics),
    Expected(f"one or more of {', '.join(METRIC_NAMES)} and hub:<a name on the hub>, separated by commas"),
]


def expectation(field: FieldInfo) -> str:
    """What a field may be, in words, from its `Expected`, its type and its range."""
    for item in field.metadata:
        if isinstance(item, Expected):
            return item.text
    if get_origin(field.annotation) is Literal:
        return _either([str(choice) for choice in get_args(field.annotation)])
    types = get_args(field.annotation) or (field.annotation,)
    number = f"{'a whole number' if int in types else 'a number'} {_range(field.metadata)}"
    return f"auto or {number}" if NoneType in types else number


def _either(choices: list[str]) -> str:
    return " or ".join([", ".join(choices[:-1]), choices[-1]]) if len(choices) > 1 else choices[0]


def _range(metadata: Iterable[Any]) -> str:
    """The bounds in words: "from 1 to 9", "from 0, below 1", "above 0, at most 0.5", "of at least 0"."""
    bounds: dict[str, Any] = {}
    for bound in metadata:
        match bound:
            case annotated_types.Ge(ge=limit):
                bounds["from"] = limit
            case annotated_types.Gt(gt=limit):
                bounds["above"] = limit
            case annotated_types.Le(le=limit):
                bounds["to"] = limit
            case annotated_types.Lt(lt=limit):
                bounds["below"] = limit
    match bounds:
        case {"from": low, "to": high}:
            return f"from {low} to {high}"
        case {"above": low, "to": high}:
            return f"above {low}, at most {high}"
        case {"from": low, "below": high}:
            return f"from {low}, below {high}"
    return f"of at least {bounds['from']}"


def is_list(field: FieldInfo) -> bool:
    """True for a field whose value is a list: in it, a comma does not make several values to choose from."""
    return get_origin(field.annotation) is tuple


def scalar(text: str) -> Scalar:
    """The value of a user hyperparameter, typed by how it is written.

    `16` is an int, `0.5` and `1e-3` are floats, `true` and `false` (in any case) are bools, anything else is a str.
    Raises ValueError, with the reason, for a number that is not finite, and text that is longer than what a service
    takes as a hyperparameter (256 characters).
    """
    if len(text) > _MAX_SCALAR:
        raise ValueError(f"expected at most {_MAX_SCALAR} characters")
    if _INTEGER.match(text):
        return int(text)
    if _DECIMAL.match(text) or _NOT_FINITE.match(text):
        if not math.isfinite(float(text)):
            raise ValueError("expected a finite number")
        return float(text)
    return text.lower() == "true" if text.lower() in ("true", "false") else text
