"""Secrets that a job needs, fetched by the job itself: requests and settings carry only their names.

`MLPIPE_SECRET_WANDB_API_KEY=secretsmanager:mlpipe/wandb` in a job's environment makes `WANDB_API_KEY` the secret of
that name in AWS Secrets Manager; `ssm:/mlpipe/wandb` is a parameter of the Systems Manager Parameter Store. Names may
be ARNs. The region and the credentials are those that boto3 finds: on SageMaker, the job's role.

This is the only module of the data plane that knows a cloud. Values are never logged and in no error.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from mlpipe.contract import SECRET_PREFIX
from mlpipe.errors import JobError, installation


@dataclass(frozen=True)
class SecretName:
    """Where a secret is kept: the variable that it is for, the service, and its name or ARN there."""

    variable: str
    service: str
    name: str

    def __str__(self) -> str:
        return f"{self.service}:{self.name}"


def named_secrets(environment: Mapping[str, str]) -> list[SecretName]:
    """The secrets that a job's environment names, in the order of their variables; JobError where one is no name."""
    return [
        _parse(variable.removeprefix(SECRET_PREFIX), text)
        for variable, text in sorted(environment.items())
        if variable.startswith(SECRET_PREFIX)
    ]


def fetch_secrets(names: list[SecretName]) -> dict[str, str]:
    """The values of the secrets, by the variables that they are for; nothing is imported where there are none.

    Raises JobError, with the name of the secret, where one cannot be had.
    """
    return {secret.variable: _fetch(secret) for secret in names}


def _parse(variable: str, text: str) -> SecretName:
    service, _, name = text.partition(":")
    # What does not look like a name may be a secret that somebody put in the wrong place: it is not shown.
    if service not in _SERVICES or not name:
        forms = " or ".join(f"{known}:NAME" for known in _SERVICES)
        raise JobError(f"{SECRET_PREFIX}{variable} does not name a secret", hint=f"it has to be {forms}")
    if not re.fullmatch("[A-Za-z_][A-Za-z0-9_]*", variable):
        raise JobError(f"{SECRET_PREFIX}{variable}: {variable!r} cannot be the name of an environment variable")
    return SecretName(variable, service, name)


def _fetch(secret: SecretName) -> str:
    try:
        import boto3  # an extra, and not for jobs without secrets
        from botocore.exceptions import BotoCoreError, ClientError
    except ImportError as error:
        raise JobError(
            f"the secret {secret} cannot be fetched: boto3 is not installed",
            hint=f"{installation('s3')}; or build the image from docker/Dockerfile, which has it",
        ) from error
    try:
        value = _SERVICES[secret.service](boto3.client(secret.service, region_name=_region(secret.name)), secret.name)
    except (BotoCoreError, ClientError) as error:
        raise JobError(
            f"the secret {secret} for {secret.variable} cannot be fetched: {error}",
            hint="the job's role has to be allowed to read it, see docker/iam/role-secrets.json; "
            "a job with network isolation cannot reach it",
        ) from error
    if not value:
        raise JobError(f"the secret {secret} for {secret.variable} holds no text")
    return value


def _region(name: str) -> str | None:
    """The region of an ARN, else that of AWS_REGION, which boto3 does not read; None where boto3 has to find it."""
    parts = name.split(":")
    return parts[3] if parts[0] == "arn" and len(parts) > 3 else os.environ.get("AWS_REGION")


def _from_secrets_manager(client: Any, name: str) -> str:
    return str(client.get_secret_value(SecretId=name).get("SecretString", ""))


def _from_parameter_store(client: Any, name: str) -> str:
    return str(client.get_parameter(Name=name, WithDecryption=True)["Parameter"]["Value"])


_SERVICES: Mapping[str, Callable[[Any, str], str]] = {
    "secretsmanager": _from_secrets_manager,
    "ssm": _from_parameter_store,
}
