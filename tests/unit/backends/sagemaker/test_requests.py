"""From a job to the request: what was meant is what is sent, and what the service takes."""

from __future__ import annotations

from typing import Any

import pytest
from aws.rules import check_rules
from aws.validation import check_body
from unit.backends.sagemaker.conftest import IMAGE, ROLE, Load, job

from mlpipe.backends.sagemaker.kinds import KINDS
from mlpipe.backends.sagemaker.limits import check_limits
from mlpipe.backends.sagemaker.naming import job_name
from mlpipe.backends.sagemaker.requests import Requests
from mlpipe.contract import SECRET_PREFIX
from mlpipe.errors import SettingsError
from mlpipe.settings import Settings
from mlpipe.specs import JobKind, JobSpec
from mlpipe.storage.empty import EmptyStorage

EVERYTHING = [
    f"sagemaker.{line}"
    for line in (
        "instance_type=ml.g5.2xlarge",
        "instance_count=2",
        "volume_size_gb=50",
        "volume_kms_key=alias/disks",
        "output_kms_key=alias/results",
        "spot=yes",
        "max_runtime=7200",
        "max_wait=9000",
        "subnets=subnet-0123abcd, subnet-0123abce",
        "security_group_ids=sg-0123abcd",
        "network_isolation=yes",
        "encrypt_traffic=yes",
        "tags=team=nlp, cost-center=12",
        "environment=LEVEL=debug",
    )
]


def request(settings: Settings, spec: JobSpec) -> dict[str, Any]:
    """The body of a job's request, after the service's checks."""
    made = Requests(settings, EmptyStorage(settings.experiment.storage), "us-east-1").of(spec)
    check_limits(made)
    body = made.body()
    check_body(KINDS[spec.kind].creation, body)
    check_rules(KINDS[spec.kind].creation, body)
    return body


def test_every_setting_of_a_training_arrives(load: Load):
    settings = load(*EVERYTHING, "training.use_distributed=yes")
    body = request(settings, job(max_runtime_s=settings.limits.max_runtime))
    assert body["TrainingJobName"] == "mlpipe-demo-7-train-m-0123456789ab"
    assert body["RoleArn"] == ROLE
    assert body["HyperParameters"] == {"epochs": "3", "learning_rate": "1e-05"}
    assert body["AlgorithmSpecification"] == {
        "TrainingImage": IMAGE,
        "TrainingInputMode": "File",
        "MetricDefinitions": [{"Name": "f1", "Regex": r"mlpipe\-objective:\ f1=([-+0-9.eE]+)"}],
    }
    assert body["ResourceConfig"] == {
        "InstanceType": "ml.g5.2xlarge",
        "InstanceCount": 2,
        "VolumeSizeInGB": 50,
        "VolumeKmsKeyId": "alias/disks",
    }
    assert body["StoppingCondition"] == {"MaxRuntimeInSeconds": 7200, "MaxWaitTimeInSeconds": 9000}
    assert body["OutputDataConfig"] == {
        "S3OutputPath": "s3://bucket/team/demo/runs/7/attempts/train-m-0123456789ab/",
        "KmsKeyId": "alias/results",
        "CompressionType": "NONE",
    }
    assert body["VpcConfig"] == {
        "Subnets": ["subnet-0123abcd", "subnet-0123abce"],
        "SecurityGroupIds": ["sg-0123abcd"],
    }
    assert body["EnableManagedSpotTraining"] is True
    assert body["EnableNetworkIsolation"] is True
    assert body["EnableInterContainerTrafficEncryption"] is True
    assert body["CheckpointConfig"] == {
        "S3Uri": "s3://bucket/team/demo/runs/7/checkpoints/m/",
        "LocalPath": "/opt/ml/checkpoints",
    }
    assert body["Environment"]["LEVEL"] == "debug"
    assert body["Environment"]["OMP_NUM_THREADS"] == "4"
    assert {"Key": "cost-center", "Value": "12"} in body["Tags"]
    assert {"Key": "mlpipe:attempt", "Value": "demo/runs/7/attempts/train-m-0123456789ab"} in body["Tags"]
    channels = {channel["ChannelName"]: channel for channel in body["InputDataConfig"]}
    assert channels["train"]["DataSource"]["S3DataSource"]["S3Uri"] == "s3://bucket/team/demo/data/prepared/p/train/"


def test_every_setting_of_a_processing_job_arrives(load: Load):
    body = request(load(*EVERYTHING, "training.use_distributed=yes"), job(JobKind.PROCESSING, "infer"))
    assert body["ProcessingJobName"] == "mlpipe-demo-7-infer-0123456789ab"
    assert body["AppSpecification"] == {"ImageUri": IMAGE, "ContainerArguments": ["infer"]}
    assert body["ProcessingResources"]["ClusterConfig"] == {
        "InstanceType": "ml.m5.xlarge",
        "InstanceCount": 1,
        "VolumeSizeInGB": 50,
        "VolumeKmsKeyId": "alias/disks",
    }
    assert body["NetworkConfig"] == {
        "EnableInterContainerTrafficEncryption": True,
        "EnableNetworkIsolation": True,
        "VpcConfig": {"Subnets": ["subnet-0123abcd", "subnet-0123abce"], "SecurityGroupIds": ["sg-0123abcd"]},
    }
    (output,) = body["ProcessingOutputConfig"]["Outputs"]
    assert body["ProcessingOutputConfig"]["KmsKeyId"] == "alias/results"
    assert output["S3Output"] == {
        "S3Uri": "s3://bucket/team/demo/runs/7/attempts/infer-0123456789ab/processing/output/result/",
        "LocalPath": "/opt/ml/processing/output/result",
        "S3UploadMode": "EndOfJob",
    }
    assert body["ProcessingInputs"][1]["S3Input"]["LocalPath"] == "/opt/ml/processing/input/train"


def test_a_warm_pool_is_asked_for(load: Load):
    body = request(load("sagemaker.warm_pool_seconds=600"), job())
    assert body["ResourceConfig"]["KeepAlivePeriodInSeconds"] == 600
    assert "VpcConfig" not in body
    assert body["EnableManagedSpotTraining"] is False


def test_the_trackers_key_travels_by_name_and_only_with_trainings(load: Load):
    settings = load("tracking.tracker=wandb", "tracking.api_key_secret=secretsmanager:mlpipe/wandb")
    variable = f"{SECRET_PREFIX}WANDB_API_KEY"
    assert request(settings, job())["Environment"][variable] == "secretsmanager:mlpipe/wandb"
    assert variable not in request(settings, job(JobKind.PROCESSING, "infer"))["Environment"]


@pytest.mark.parametrize("kind", [JobKind.TRAINING, JobKind.PROCESSING, JobKind.TUNING])
@pytest.mark.parametrize("experiment", ["e", "a.very_long-name" * 3 + "x" * 15])
@pytest.mark.parametrize("name", ["train-m", "train-" + "model.name-" * 5])
def test_names_fit_and_say_what_a_job_is_for(kind: JobKind, experiment: str, name: str):
    spec = job(kind, name)
    made = job_name(experiment, spec)
    assert len(made) <= (32 if kind is JobKind.TUNING else 63)
    assert made.startswith("mlpipe-")
    assert "-7-" in made
    assert made.endswith("456789ab")
    assert "--" not in made
    assert job_name(experiment, spec) == made
    assert job_name(experiment, job(kind, name, attempt=f"{spec.attempt[:-1]}c")) != made


@pytest.mark.parametrize(
    ("overrides", "changes", "problem"),
    [
        (
            ["sagemaker.instance_type=ml.m5.xlrage"],
            {},
            r"ResourceConfig\.InstanceType: 'ml\.m5\.xlrage' is unknown; did you mean ml\.m5\.xlarge\? "
            r"\(\[SAGEMAKER\] INSTANCE_TYPE",
        ),
        ([], {"hyperparameters": {f"h{n}": n for n in range(101)}}, "101 entries, of which at most 100 are allowed"),
        ([], {"hyperparameters": {"note": "x" * 257}}, r"HyperParameters\.note: 257 characters"),
        ([f"sagemaker.environment=LONG={'x' * 513}"], {}, r"Environment\.LONG: 513 characters"),
        ([f"sagemaker.tags={','.join(f't{n}=1' for n in range(51))}"], {}, "Tags: 55 entries, of which at most 50"),
    ],
)
def test_what_the_service_would_refuse_is_refused_before(
    load: Load, overrides: list[str], changes: dict[str, Any], problem: str
):
    made = Requests(load(*overrides), EmptyStorage("s3://bucket/team"), "us-east-1").of(job(**changes))
    with pytest.raises(SettingsError, match=rf"SageMaker would refuse the job mlpipe-demo-7-train-m-[\s\S]*{problem}"):
        check_limits(made)
