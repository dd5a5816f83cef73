"""[SAGEMAKER]: what it takes, and what contradicts itself."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from mlpipe.errors import SettingsError
from mlpipe.settings import Settings
from mlpipe.settings.sagemaker import pairs_of


@pytest.mark.parametrize(
    ("key", "text", "value"),
    [
        (
            "ROLE_ARN",
            "arn:aws:iam::123456789012:role/team/mlpipe-jobs",
            "arn:aws:iam::123456789012:role/team/mlpipe-jobs",
        ),
        ("ROLE_ARN", "", None),
        (
            "DOCKER_IMAGE_PATH",
            "a.dkr.ecr.eu-west-1.amazonaws.com/m@sha256:ab",
            "a.dkr.ecr.eu-west-1.amazonaws.com/m@sha256:ab",
        ),
        ("INSTANCE_TYPE", "ml.p4d.24xlarge", "ml.p4d.24xlarge"),
        ("SUBNETS", "subnet-0123abcd, subnet-0123abce", ("subnet-0123abcd", "subnet-0123abce")),
        ("TAGS", "team=nlp, cost-center = 12", ("team=nlp", "cost-center = 12")),
        ("SPOT", "yes", True),
    ],
)
def test_values_that_a_key_may_have(load: Callable[..., Settings], key: str, text: str, value: object) -> None:
    both = "SECURITY_GROUP_IDS = sg-0123abcd\n" if key == "SUBNETS" else ""
    settings = load(f"[SAGEMAKER]\n{both}{key} = {text}\n")
    assert getattr(settings.sagemaker, key.lower()) == value


@pytest.mark.parametrize(
    ("key", "text", "reason"),
    [
        ("ROLE_ARN", "mlpipe-jobs", "expected the ARN of a role"),
        ("ROLE_ARN", "arn:aws:iam::12:role/a", "expected the ARN of a role"),
        ("INSTANCE_TYPE", "m5.xlarge", "expected a type of machine"),
        ("INSTANCE_COUNT", "0", "expected a whole number from 1 to 20"),
        ("SUBNETS", "vpc-0123abcd", "expected ids such as subnet-"),
        ("TAGS", "team", "expected NAME=value"),
        ("TAGS", "team=", "expected NAME=value"),
        ("ENVIRONMENT", "A=1, A=2", "A is given twice"),
        ("VOLUME_KMS_KEY", "a key", "expected the id, the alias"),
    ],
)
def test_values_that_a_key_may_not_have(load: Callable[..., Settings], key: str, text: str, reason: str) -> None:
    with pytest.raises(SettingsError, match=rf"settings\.ini:\d+: \[SAGEMAKER\] {key} = .*: {reason}"):
        load(f"[SAGEMAKER]\n{key} = {text}\n")


@pytest.mark.parametrize(
    ("lines", "reason"),
    [
        ("SPOT = yes\nMAX_WAIT = 100\n", "MAX_WAIT = 100 is shorter than MAX_RUNTIME = 86400"),
        ("SPOT = yes\nWARM_POOL_SECONDS = 60\n", "SPOT capacity is not kept warm"),
        ("SUBNETS = subnet-0123abcd\n", "SUBNETS and SECURITY_GROUP_IDS go together"),
        ("MAX_COST_USD = 5\nPRICE_PER_HOUR = 1\n", "needs PRICE_PER_HOUR and PROCESSING_PRICE_PER_HOUR"),
    ],
)
def test_settings_that_contradict_each_other(load: Callable[..., Settings], lines: str, reason: str) -> None:
    with pytest.raises(SettingsError, match=reason):
        load(f"[SAGEMAKER]\n{lines}")


def test_pairs_are_read_without_the_blanks_around_them() -> None:
    assert pairs_of(("team=nlp", "formula = a=b")) == {"team": "nlp", "formula": "a=b"}
