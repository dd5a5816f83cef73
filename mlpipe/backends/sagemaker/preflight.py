"""What can be known about SageMaker before a job is paid for: from the settings alone, and from the account."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

from mlpipe.backends.sagemaker.errors import reported
from mlpipe.errors import SettingsError
from mlpipe.settings import Settings
from mlpipe.storage.s3_errors import code_of

_ECR = re.compile(
    r"(?P<account>\d{12})\.dkr\.ecr\.(?P<region>[a-z0-9-]+)\.amazonaws\.com(\.cn)?/(?P<repository>[^@:]+)"
    r"(?:@(?P<digest>sha256:[0-9a-f]{64})|:(?P<tag>[^@]+))?\Z"
)


def check_settings(settings: Settings) -> None:
    """Raise SettingsError with every reason why jobs could not run in SageMaker with these settings."""
    problems = list(_problems(settings))
    if problems:
        lines = "\n".join(f"{settings.source.name}: {problem}" for problem in problems)
        raise SettingsError(f"[EXPERIMENT] BACKEND = sagemaker cannot be used yet\n{lines}", hint="see docs/aws.md")


def check_account(settings: Settings, session: boto3.Session) -> None:
    """Raise CloudError or SettingsError where credentials, role or image cannot be right."""
    if not session.region_name:
        raise SettingsError(
            "no AWS region is set", hint="export AWS_DEFAULT_REGION=..., or write it to the AWS configuration"
        )
    config = Config(retries={"mode": "standard", "total_max_attempts": 8})
    with reported("find out whose credentials these are"):
        account = session.client("sts", config=config).get_caller_identity()["Account"]
    role = str(settings.sagemaker.role_arn)
    if role.split(":")[4] != account:
        raise SettingsError(
            f"[SAGEMAKER] ROLE_ARN = {role} is a role of another account: the credentials are those of {account}",
            hint="a job's role and its creator belong to one account",
        )
    _check_image(str(settings.sagemaker.docker_image_path), session, config)


def _problems(settings: Settings) -> Iterator[str]:
    options, tracking = settings.sagemaker, settings.tracking
    if not settings.experiment.storage.startswith("s3://"):
        yield f"[EXPERIMENT] STORAGE = {settings.experiment.storage}: jobs need s3://bucket/prefix"
    if not options.role_arn:
        yield "[SAGEMAKER] ROLE_ARN is missing: the role that jobs have"
    if not options.docker_image_path:
        yield "[SAGEMAKER] DOCKER_IMAGE_PATH is missing: the image of every job"
    if options.instance_count > 1 and not settings.training.use_distributed:
        yield (
            f"[SAGEMAKER] INSTANCE_COUNT = {options.instance_count}: more than one machine takes [TRAINING] "
            "USE_DISTRIBUTED = yes"
        )
    is_online = (tracking.tracker == "wandb" and tracking.mode == "online") or tracking.uri
    if options.network_isolation and tracking.tracker != "none" and is_online:
        yield (
            f"[SAGEMAKER] NETWORK_ISOLATION = yes: [TRACKING] TRACKER = {tracking.tracker} could not be reached; "
            "write MODE = offline or TRACKER = none"
        )
    if options.network_isolation and tracking.api_key_secret:
        yield "[SAGEMAKER] NETWORK_ISOLATION = yes: [TRACKING] API_KEY_SECRET could not be fetched"
    if options.network_isolation and any(name.startswith("hub:") for name in settings.training.metrics):
        yield "[SAGEMAKER] NETWORK_ISOLATION = yes: METRICS of the hub could not be fetched"


def _check_image(image: str, session: boto3.Session, config: Config) -> None:
    """Look for an image of ECR; what is in other registries is not looked for."""
    match = _ECR.match(image)
    if not match:
        return
    if match["region"] != session.region_name:
        raise SettingsError(
            f"[SAGEMAKER] DOCKER_IMAGE_PATH = {image} is in {match['region']}, and jobs run in {session.region_name}",
            hint="push the image to the region of the jobs",
        )
    wanted: dict[str, Any] = (
        {"imageDigest": match["digest"]} if match["digest"] else {"imageTag": match["tag"] or "latest"}
    )
    try:
        with reported(f"look for the image {image}"):
            session.client("ecr", config=config).describe_images(
                registryId=match["account"], repositoryName=match["repository"], imageIds=[wanted]
            )
    except Exception as error:
        cause = error.__cause__
        if isinstance(cause, ClientError) and code_of(cause) in (
            "ImageNotFoundException",
            "RepositoryNotFoundException",
        ):
            raise SettingsError(
                f"[SAGEMAKER] DOCKER_IMAGE_PATH = {image}: there is no such image",
                hint="docker/build_and_push.sh pushes one and prints its URI",
            ) from error
        raise
