"""What the fake refuses, and the error that it refuses it with."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from typing import Any

import pytest
from aws.account import Account
from aws.conftest import MakeAccount
from aws.requests import channel, processing_request, spot_request, training_request, tuning_request
from botocore.exceptions import ClientError


def post(account: Account, operation: str, body: dict[str, Any], **headers: str) -> tuple[int, dict[str, Any]]:
    """A call without a client that would refuse it first."""
    target = {"X-Amz-Target": f"SageMaker.{operation}", "Authorization": "AWS4-HMAC-SHA256 ...", **headers}
    request = urllib.request.Request(account.fake.url, json.dumps(body).encode(), target)
    try:
        with urllib.request.urlopen(request) as reply:
            return reply.status, json.load(reply)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.load(error)


def refusal(account: Account, operation: str, body: dict[str, Any]) -> str:
    status, reply = post(account, operation, body)
    assert (status, reply["__type"]) == (400, "ValidationException"), reply
    return str(reply["message"])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"RoleArn": None}, 'Missing required parameter in input: "RoleArn"'),
        ({"Colour": "red"}, 'Unknown parameter in input: "Colour"'),
        ({"TrainingJobName": 7}, "Invalid type for parameter TrainingJobName"),
        ({"TrainingJobName": "n" * 64}, "at 'trainingJobName' failed to satisfy constraint: Member must have length"),
        ({"TrainingJobName": "a_b"}, "Member must satisfy regular expression pattern"),
        ({"HyperParameters": {f"h{number}": "1" for number in range(101)}}, "length less than or equal to 100"),
        ({"HyperParameters": {"h": "1" * 2501}}, "at 'hyperParameters.h.member' failed"),
        ({"HyperParameters": {"h": 1}}, "Invalid type for parameter HyperParameters.h"),
        ({"Environment": {"A": "v" * 513}}, "length less than or equal to 512"),
        ({"Tags": [{"Key": "who", "Value": "a&b"}]}, "at 'tags.1.member.value' failed"),
        ({"OutputDataConfig": {"S3OutputPath": "s3://b", "CompressionType": "none"}}, "enum value set: [GZIP, NONE]"),
        ({"OutputDataConfig": {"S3OutputPath": "https://b/"}}, "https://b/ is no s3:// address"),
        ({"StoppingCondition": None}, "StoppingCondition is required"),
        ({"InputDataConfig": [channel("a", "s3://b/")] * 2}, "duplicate ChannelName: a"),
        ({"EnableManagedSpotTraining": True}, "Invalid MaxWaitTimeInSeconds"),
        ({"StoppingCondition": {"MaxRuntimeInSeconds": 9, "MaxWaitTimeInSeconds": 9}}, "MaxWaitTimeInSeconds can only"),
        ({"CheckpointConfig": {"S3Uri": "s3://b/", "LocalPath": "/tmp/c"}}, "the fake of SageMaker does not know"),
    ],
)
def test_a_training_request_is_held_against_model_and_rules(
    make_account: MakeAccount, changes: dict[str, Any], message: str
):
    account = make_account("pass")
    assert message in refusal(account, "CreateTrainingJob", training_request(account.bucket, **changes))
    assert post(account, "ListTrainingJobs", {})[1] == {"TrainingJobSummaries": []}


def test_several_violations_are_told_at_once(make_account: MakeAccount):
    account = make_account("pass")
    request = training_request(account.bucket, "n_" * 40)
    assert refusal(account, "CreateTrainingJob", request).startswith("2 validation errors detected: ")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"Environment": {"A": "v" * 257}}, "length less than or equal to 256"),
        ({"ProcessingOutputConfig": {"Outputs": [{"OutputName": "a"}]}}, "does not know processing inputs and outputs"),
        ({"AppSpecification": {"ImageUri": "i", "ContainerEntrypoint": ["sh"]}}, "does not know ContainerEntrypoint"),
    ],
)
def test_a_processing_request_is_held_against_model_and_rules(
    make_account: MakeAccount, changes: dict[str, Any], message: str
):
    account = make_account("pass")
    assert message in refusal(account, "CreateProcessingJob", processing_request(account.bucket, **changes))


@pytest.mark.parametrize("path", ["/opt/ml/input", "/opt/ml/processing/../model", "/opt/ml/processing/output/result/"])
def test_a_processing_input_has_a_place_of_its_own_below_processing(make_account: MakeAccount, path: str):
    account = make_account("pass")
    place = {"S3Uri": "s3://b/", "LocalPath": path, "S3DataType": "S3Prefix"}
    request = processing_request(account.bucket, ProcessingInputs=[{"InputName": "a", "S3Input": place}])
    assert "LocalPath" in refusal(account, "CreateProcessingJob", request)


def search(**ranges: Any) -> dict[str, Any]:
    return {"config": {"ParameterRanges": {f"{kind}ParameterRanges": entries for kind, entries in ranges.items()}}}


def between(low: str, high: str, scale: str = "Auto") -> list[dict[str, str]]:
    return [{"Name": "x", "MinValue": low, "MaxValue": high, "ScalingType": scale}]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"Environment": {f"A{number}": "" for number in range(49)}}, "length less than or equal to 48"),
        ({"StaticHyperParameters": {"x": "1"}}, "both searched and static: ['x']"),
        ({"StaticHyperParameters": {"_tuning_objective_metric": "x"}}, "_tuning_objective_metric is reserved"),
        ({"AlgorithmSpecification": {"TrainingImage": "i", "TrainingInputMode": "File"}}, "is not one of MetricDefin"),
        ({"trials": 1, "parallel": 2}, "must not be greater than MaxNumberOfTrainingJobs"),
        ({"trials": 751}, "at most 750 training jobs"),
        (search(Continuous=between("1", "0")), "MinValue is greater than MaxValue"),
        (search(Continuous=between("0", "1", "Logarithmic")), "a Logarithmic range must be above 0"),
        (search(Continuous=between("0", "1", "ReverseLogarithmic")), "must be continuous, and within 0 <= x < 1"),
        (search(Integer=between("0.5", "1")), "must be the text of integer numbers"),
        (search(Categorical=[{"Name": "x", "Values": [str(n) for n in range(31)]}]), "less than or equal to 30"),
        (search(), "must name 1 to 30 hyperparameters"),
        ({"config": {"Strategy": "Grid"}}, "Grid searches categorical hyperparameters alone"),
        (
            {"config": {"Strategy": "Hyperband", "TrainingJobEarlyStoppingType": "Auto"}},
            "TrainingJobEarlyStoppingType must be Off",
        ),
        ({"ResourceConfig": None}, "one of ResourceConfig and HyperParameterTuningResourceConfig is required"),
    ],
)
def test_a_tuning_request_is_held_against_model_and_rules(
    make_account: MakeAccount, changes: dict[str, Any], message: str
):
    account = make_account("pass")
    assert message in refusal(account, "CreateHyperParameterTuningJob", tuning_request(account.bucket, **changes))


def test_the_name_of_a_tuning_job_is_shorter(make_account: MakeAccount):
    account = make_account("pass")
    request = tuning_request(account.bucket, "n" * 33)
    assert "less than or equal to 32" in refusal(account, "CreateHyperParameterTuningJob", request)


def test_a_name_is_taken_for_ever_and_by_kind(make_account: MakeAccount):
    account = make_account("print('score=1')")
    first = account.train(training_request(account.bucket, "one"))
    with pytest.raises(account.sagemaker.exceptions.ResourceInUse, match=first["TrainingJobArn"]):
        account.sagemaker.create_training_job(**training_request(account.bucket, "one"))
    account.process(processing_request(account.bucket, "one"))
    with pytest.raises(account.sagemaker.exceptions.ResourceInUse):
        account.sagemaker.create_processing_job(**processing_request(account.bucket, "one"))
    account.tune(tuning_request(account.bucket, "one"))
    with pytest.raises(account.sagemaker.exceptions.ResourceInUse):
        account.sagemaker.create_hyper_parameter_tuning_job(**tuning_request(account.bucket, "one"))


def test_unknown_names_are_refused_as_each_kind_refuses_them(make_account: MakeAccount):
    client = make_account("pass").sagemaker
    with pytest.raises(ClientError, match=r"ValidationException.*Requested resource not found"):
        client.describe_training_job(TrainingJobName="none")
    with pytest.raises(ClientError, match=r"ValidationException.*Could not find requested job"):
        client.stop_processing_job(ProcessingJobName="none")
    with pytest.raises(client.exceptions.ResourceNotFound):
        client.describe_hyper_parameter_tuning_job(HyperParameterTuningJobName="none")


def test_a_job_that_has_ended_cannot_be_stopped(make_account: MakeAccount):
    account = make_account("pass")
    account.train(training_request(account.bucket))
    with pytest.raises(ClientError, match="in status Completed"):
        account.sagemaker.stop_training_job(TrainingJobName="job")


def test_what_the_service_or_the_fake_does_not_have_is_refused(make_account: MakeAccount):
    account = make_account("pass")
    assert post(account, "MakeCoffee", {})[1]["__type"] == "UnknownOperationException"
    assert "does not know the operation ListModels" in refusal(account, "ListModels", {})


def test_a_call_needs_a_signature(make_account: MakeAccount):
    account = make_account("pass")
    assert post(account, "ListTrainingJobs", {}, Authorization="")[0] == 403


def test_tags_can_be_read_and_added(make_account: MakeAccount):
    account = make_account("pass")
    arn = account.train(spot_request(account.bucket, Tags=[{"Key": "a", "Value": "1"}]))["TrainingJobArn"]
    account.sagemaker.add_tags(ResourceArn=arn, Tags=[{"Key": "b", "Value": "2"}])
    assert account.sagemaker.list_tags(ResourceArn=arn)["Tags"] == [
        {"Key": "a", "Value": "1"},
        {"Key": "b", "Value": "2"},
    ]


def test_requests_are_kept_as_they_came(make_account: MakeAccount):
    account = make_account("pass")
    request = training_request(account.bucket)
    account.train(request)
    assert account.fake.bodies("CreateTrainingJob") == [request]
