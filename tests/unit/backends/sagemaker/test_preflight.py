"""What is refused before anything is submitted."""

from __future__ import annotations

import json

import boto3
import moto_server
import pytest
from unit.backends.sagemaker.conftest import IMAGE, Load, job

from mlpipe.backends.base import WorstCase
from mlpipe.backends.choice import backend_of, with_placeholders
from mlpipe.backends.sagemaker.cost import check_cost, worst_case
from mlpipe.backends.sagemaker.machines import vcpus
from mlpipe.backends.sagemaker.preflight import check_account, check_settings
from mlpipe.errors import CloudError, SettingsError
from mlpipe.specs import JobKind
from mlpipe.storage.empty import EmptyStorage


def test_everything_that_is_missing_is_named_at_once(load: Load):
    settings = load("experiment.storage=storage", "sagemaker.role_arn=", "sagemaker.docker_image_path=")
    with pytest.raises(SettingsError) as caught:
        check_settings(settings)
    lines = str(caught.value).splitlines()
    assert lines[1].startswith("settings.ini: [EXPERIMENT] STORAGE = storage: jobs need s3://")
    assert lines[2].startswith("settings.ini: [SAGEMAKER] ROLE_ARN is missing")
    assert lines[3].startswith("settings.ini: [SAGEMAKER] DOCKER_IMAGE_PATH is missing")


@pytest.mark.parametrize(
    ("overrides", "problem"),
    [
        (["sagemaker.instance_count=2"], "INSTANCE_COUNT = 2: more than one machine takes .* USE_DISTRIBUTED = yes"),
        (["tracking.tracker=wandb", "sagemaker.network_isolation=yes"], "TRACKER = wandb could not be reached"),
        (["tracking.tracker=mlflow", "tracking.uri=https://m", "sagemaker.network_isolation=yes"], "mlflow could not"),
        (["tracking.api_key_secret=ssm:/a", "sagemaker.network_isolation=yes"], "API_KEY_SECRET could not be fetched"),
        (["training.metrics=f1, hub:x", "sagemaker.network_isolation=yes"], "METRICS of the hub could not be fetched"),
    ],
)
def test_settings_that_cannot_work_in_the_cloud_are_refused(load: Load, overrides: list[str], problem: str):
    with pytest.raises(SettingsError, match=problem):
        check_settings(load(*overrides))


def test_settings_that_work_are_taken(load: Load):
    check_settings(load("tracking.tracker=wandb", "tracking.mode=offline", "sagemaker.network_isolation=yes"))


MANIFEST = {
    "schemaVersion": 2,
    "mediaType": "application/vnd.docker.distribution.manifest.v2+json",
    "config": {"digest": f"sha256:{'1' * 64}", "size": 1},
    "layers": [],
}


def push(endpoint: str) -> None:
    ecr = moto_server.client("ecr", endpoint)
    names = [repository["repositoryName"] for repository in ecr.describe_repositories()["repositories"]]
    if "mlpipe" not in names:
        ecr.create_repository(repositoryName="mlpipe")
        ecr.put_image(repositoryName="mlpipe", imageManifest=json.dumps(MANIFEST), imageTag="1")


@pytest.mark.usefixtures("bucket")
def test_an_image_that_is_there_is_taken(load: Load, s3_endpoint: str):
    push(s3_endpoint)
    check_account(load(), boto3.Session())


@pytest.mark.usefixtures("bucket")
@pytest.mark.parametrize(
    "image",
    [
        IMAGE.replace("mlpipe:1", "mlpipe:2"),
        IMAGE.replace("mlpipe:1", "other:1"),
        IMAGE.replace(":1", f"@sha256:{'0' * 64}"),
    ],
)
def test_an_image_that_does_not_exist_is_refused(load: Load, s3_endpoint: str, image: str):
    push(s3_endpoint)
    with pytest.raises(SettingsError, match=r"DOCKER_IMAGE_PATH = .*: there is no such image"):
        check_account(load(f"sagemaker.docker_image_path={image}"), boto3.Session())


@pytest.mark.usefixtures("bucket")
def test_an_image_of_another_region_is_refused(load: Load):
    image = IMAGE.replace("us-east-1", "eu-west-1")
    with pytest.raises(SettingsError, match="is in eu-west-1, and jobs run in us-east-1"):
        check_account(load(f"sagemaker.docker_image_path={image}"), boto3.Session())


@pytest.mark.usefixtures("bucket")
def test_a_role_of_another_account_is_refused(load: Load):
    role = "arn:aws:iam::999999999999:role/mlpipe-jobs"
    with pytest.raises(SettingsError, match="is a role of another account: the credentials are those of 123456789012"):
        check_account(load(f"sagemaker.role_arn={role}"), boto3.Session())


@pytest.mark.usefixtures("bucket")
def test_credentials_that_are_missing_are_an_error_of_the_cloud(load: Load, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    with pytest.raises(CloudError, match="cannot find out whose credentials these are") as caught:
        check_account(load(), boto3.Session())
    assert "aws sso login" in caught.value.hint
    assert caught.value.exit_code == 4


@pytest.mark.parametrize(
    ("instance_type", "cpus"),
    [("ml.t3.medium", 2), ("ml.m5.large", 2), ("ml.m5.xlarge", 4), ("ml.g5.2xlarge", 8), ("ml.p4d.24xlarge", 96)],
)
def test_the_cpus_of_a_machine(instance_type: str, cpus: int):
    assert vcpus(instance_type) == cpus


def test_a_machine_of_unknown_size_asks_for_the_threads():
    with pytest.raises(SettingsError, match=r"how many CPUs ml\.c5\.metal has[\s\S]*THREADS"):
        vcpus("ml.c5.metal")


def test_the_worst_case_is_machines_times_time(load: Load):
    jobs = [job(), job(), job(JobKind.PROCESSING, "infer")]
    options = load("sagemaker.instance_count=2", "sagemaker.price_per_hour=3").sagemaker
    assert worst_case(jobs, options) == WorstCase(5.0, None), "one price is not known"
    known = options.model_copy(update={"processing_price_per_hour": 0.5})
    assert worst_case(jobs, known) == WorstCase(5.0, 12.5)


@pytest.mark.parametrize(
    ("limits", "problem"),
    [
        ({"max_instance_hours": 4.5}, "MAX_INSTANCE_HOURS = 4.5: at worst the jobs take 5 instance-hours"),
        ({"max_cost_usd": 12.0}, r"MAX_COST_USD = 12: at worst the jobs cost 12\.50 dollars"),
    ],
)
def test_a_worst_case_beyond_a_limit_is_refused(load: Load, limits: dict[str, float], problem: str):
    options = load().sagemaker.model_copy(update=limits)
    with pytest.raises(SettingsError, match=problem):
        check_cost(WorstCase(5.0, 12.5), options)
    check_cost(WorstCase(4.0, 11.0), options)


def test_a_cost_that_is_not_known_is_beyond_any_limit(load: Load):
    with pytest.raises(SettingsError, match="an unknown sum"):
        check_cost(WorstCase(1.0, None), load().sagemaker.model_copy(update={"max_cost_usd": 100.0}))


def test_placeholders_make_a_plan_possible_and_leave_what_is_set(load: Load, monkeypatch: pytest.MonkeyPatch):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_DEFAULT_REGION"):
        monkeypatch.delenv(name, raising=False)
    settings = with_placeholders(load("experiment.storage=storage", "sagemaker.role_arn="))
    assert settings.sagemaker.docker_image_path == IMAGE
    backend = backend_of(settings, EmptyStorage(settings.experiment.storage), is_offline=True)
    assert backend.plan(job())["RoleArn"] == "arn:aws:iam::123456789012:role/placeholder"
