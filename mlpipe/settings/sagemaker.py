"""[SAGEMAKER]: with what the jobs of BACKEND = sagemaker run, and what they may cost."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from mlpipe.settings.fields import (
    Expected,
    Flag,
    KmsKey,
    Number,
    WholeNumber,
    from_list,
    from_optional,
    matches,
    refused,
)
from mlpipe.settings.section import Section

_PAIR = re.compile(r"(?P<name>[A-Za-z_][\w.:/-]{0,127})\s*=\s*(?P<value>[^\n]*)\Z", re.ASCII)
_DAY = 86_400


def _pairs(parts: tuple[str, ...]) -> tuple[str, ...]:
    """The entries of a list of NAME=value; each name once."""
    names: set[str] = set()
    for part in parts:
        match = _PAIR.match(part)
        if not match:
            raise ValueError
        if match["name"] in names:
            raise refused(f"{match['name']} is given twice")
        names.add(match["name"])
    return parts


def _filled(parts: tuple[str, ...]) -> tuple[str, ...]:
    """The SDK drops a value that is empty, and the service misses it."""
    if any(part.partition("=")[2].strip() == "" for part in parts):
        raise ValueError
    return parts


def _ids(prefix: str) -> AfterValidator:
    def check(ids: tuple[str, ...]) -> tuple[str, ...]:
        if not all(re.fullmatch(rf"{prefix}-[0-9a-f]{{8,17}}", each) for each in ids):
            raise ValueError
        return ids

    return AfterValidator(check)


RoleArn = Annotated[
    str | None,
    BeforeValidator(from_optional),
    matches(r"arn:aws[a-z-]*:iam::\d{12}:role/[\w+=,.@/-]+"),
    Expected("the ARN of a role, such as arn:aws:iam::123456789012:role/mlpipe-jobs, or nothing"),
]
ImageUri = Annotated[
    str | None,
    BeforeValidator(from_optional),
    matches(r"[A-Za-z0-9][\w./:@-]{0,254}"),
    Expected("the URI of an image in a registry, or nothing"),
]
InstanceType = Annotated[
    str, matches(r"ml\.[a-z0-9-]+\.[a-z0-9-]+"), Expected("a type of machine, such as ml.m5.xlarge")
]
Pairs = Annotated[
    tuple[str, ...],
    BeforeValidator(from_list),
    AfterValidator(_pairs),
    Expected("NAME=value, separated by commas, or nothing"),
]
Tags = Annotated[Pairs, AfterValidator(_filled), Expected("NAME=value, separated by commas, or nothing")]
Subnets = Annotated[
    tuple[str, ...], BeforeValidator(from_list), _ids("subnet"), Expected("ids such as subnet-0123abcd, or nothing")
]
SecurityGroups = Annotated[
    tuple[str, ...], BeforeValidator(from_list), _ids("sg"), Expected("ids such as sg-0123abcd, or nothing")
]


class Sagemaker(Section):
    """[SAGEMAKER]: with what the jobs of BACKEND = sagemaker run, and what they may cost; other backends ignore it."""

    role_arn: RoleArn = Field(default=None, description="The role that jobs have; BACKEND = sagemaker needs it.")
    docker_image_path: ImageUri = Field(
        default=None, description="The image of every job, best by its digest; BACKEND = sagemaker needs it."
    )
    instance_type: InstanceType = Field(default="ml.m5.xlarge", description="The machine of a training.")
    instance_count: WholeNumber = Field(
        default=1, ge=1, le=20, description="Machines of one training; more than one take USE_DISTRIBUTED = yes."
    )
    processing_instance_type: InstanceType = Field(
        default="ml.m5.xlarge", description="The machine of the jobs that collect, encode and infer rows."
    )
    volume_size_gb: WholeNumber = Field(default=30, ge=1, le=16_384, description="Gigabytes of disk of every machine.")
    max_parallel_jobs: WholeNumber = Field(
        default=1, ge=1, le=64, description="Trainings that run side by side; the account's quota has to allow it."
    )
    max_runtime: WholeNumber = Field(
        default=_DAY, ge=60, le=28 * _DAY, description="Seconds after which the service ends a job."
    )
    spot: Flag = Field(
        default=False,
        description="Whether trainings run on spot capacity, which is cheaper and may be interrupted; they go on from "
        "their last checkpoint.",
    )
    max_wait: WholeNumber = Field(
        default=2 * _DAY,
        ge=60,
        le=28 * _DAY,
        description="Seconds that a spot training may take with all its waiting; at least MAX_RUNTIME.",
    )
    warm_pool_seconds: WholeNumber = Field(
        default=0,
        ge=0,
        le=3_600,
        description="Seconds that the machines of a training are kept, and paid, for the next.",
    )
    subnets: Subnets = Field(default=(), description="Subnets of a VPC that jobs are attached to.")
    security_group_ids: SecurityGroups = Field(default=(), description="Security groups of the jobs in that VPC.")
    network_isolation: Flag = Field(
        default=False, description="Whether jobs are cut off from every network: no hub, no tracker, no secrets."
    )
    encrypt_traffic: Flag = Field(
        default=False, description="Whether the machines of one training encrypt what they send each other."
    )
    volume_kms_key: KmsKey = Field(
        default=None, description="Key that encrypts the machines' disks; nothing leaves that to the service."
    )
    output_kms_key: KmsKey = Field(
        default=None, description="Key that encrypts what jobs write to the bucket; nothing leaves that to the bucket."
    )
    tags: Tags = Field(default=(), description="Tags of every job, for the bill.")
    environment: Pairs = Field(default=(), description="Variables of every job, in the open: no secrets.")
    price_per_hour: Number = Field(
        default=0.0, ge=0, description="Dollars that an hour of one INSTANCE_TYPE costs; 0 means that it is not known."
    )
    processing_price_per_hour: Number = Field(
        default=0.0, ge=0, description="Dollars that an hour of PROCESSING_INSTANCE_TYPE costs; 0 means not known."
    )
    max_instance_hours: Number = Field(
        default=0.0,
        ge=0,
        description="Hours of all machines together that a command may take at worst; 0 sets no limit.",
    )
    max_cost_usd: Number = Field(
        default=0.0,
        ge=0,
        description="Dollars that a command may cost at worst, by the prices above; 0 sets no limit.",
    )

    @model_validator(mode="after")
    def _waits_long_enough(self) -> Sagemaker:
        if self.spot and self.max_wait < self.max_runtime:
            reason = f"MAX_WAIT = {self.max_wait} is shorter than MAX_RUNTIME = {self.max_runtime}"
            raise refused(reason, "max_wait", "max_runtime")
        if self.spot and self.warm_pool_seconds:
            raise refused("SPOT capacity is not kept warm: WARM_POOL_SECONDS has to be 0", "spot", "warm_pool_seconds")
        return self

    @model_validator(mode="after")
    def _names_a_whole_vpc(self) -> Sagemaker:
        if bool(self.subnets) != bool(self.security_group_ids):
            raise refused("SUBNETS and SECURITY_GROUP_IDS go together", "subnets", "security_group_ids")
        return self

    @model_validator(mode="after")
    def _knows_what_it_limits(self) -> Sagemaker:
        if self.max_cost_usd and not (self.price_per_hour and self.processing_price_per_hour):
            reason = "a limit in dollars needs PRICE_PER_HOUR and PROCESSING_PRICE_PER_HOUR"
            raise refused(reason, "max_cost_usd", "price_per_hour", "processing_price_per_hour")
        return self


def pairs_of(entries: tuple[str, ...]) -> dict[str, str]:
    """TAGS or ENVIRONMENT as a mapping."""
    return {name.strip(): value.strip() for name, _, value in (entry.partition("=") for entry in entries)}
