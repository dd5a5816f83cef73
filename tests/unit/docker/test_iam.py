"""The policies of docker/iam: what a caller does is allowed, and nothing beside it."""

from __future__ import annotations

import json
import os
import re
import subprocess
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from iam_policy import ACCOUNT, FOLDER, REGION, Call, Need, Policy, needs_of, s3_call
from s3_server import Proxy

from mlpipe.storage.s3 import S3Storage

ROOT = FOLDER.parents[1]
ROLE = f"arn:aws:iam::{ACCOUNT}:role/mlpipe-jobs"
TAGS = [{"Key": "mlpipe", "Value": "1"}]
PLACEHOLDERS = {
    *("ACCOUNT_ID", "REGION", "BUCKET", "PREFIX", "REPOSITORY", "KEY_ID", "SUBNET_ID", "SECURITY_GROUP_ID"),
}


def caller(bucket: str = "data", prefix: str = "team") -> Policy:
    return Policy("caller.json", BUCKET=bucket, PREFIX=prefix, REPOSITORY="mlpipe")


def allowed(call: Call, policy: Policy | None = None) -> bool:
    return all((policy or caller()).allows(need) for need in needs_of(call))


def job_calls(role: str = ROLE, name: str = "mlpipe-e-7-m") -> list[Call]:
    """Every call that creates, follows and ends jobs."""
    arn = f"arn:aws:sagemaker:{REGION}:{ACCOUNT}:training-job/{name}"
    tuning = {"HyperParameterTuningJobName": name}
    named: dict[str, dict[str, Any]] = {
        "TrainingJob": {"TrainingJobName": name},
        "ProcessingJob": {"ProcessingJobName": name},
        "HyperParameterTuningJob": tuning,
    }
    creations = [
        Call("sagemaker", "CreateTrainingJob", {**named["TrainingJob"], "RoleArn": role, "Tags": TAGS}),
        Call("sagemaker", "CreateProcessingJob", {**named["ProcessingJob"], "RoleArn": role, "Tags": TAGS}),
        Call(
            "sagemaker",
            "CreateHyperParameterTuningJob",
            {**tuning, "TrainingJobDefinition": {"RoleArn": role}, "Tags": TAGS},
        ),
    ]
    return [
        *creations,
        *(Call("sagemaker", f"{verb}{kind}", given) for verb in ("Describe", "Stop") for kind, given in named.items()),
        Call("sagemaker", "ListTrainingJobsForHyperParameterTuningJob", tuning),
        Call("sagemaker", "ListTags", {"ResourceArn": arn}),
        Call("sagemaker", "AddTags", {"ResourceArn": arn, "Tags": TAGS}),
    ]


OTHER_CALLS = [
    Call("sts", "GetCallerIdentity"),
    Call("ecr", "DescribeImages", {"repositoryName": "mlpipe"}),
    *(
        Call("logs", operation, {"logGroupName": f"/aws/sagemaker/{group}", "logStreamName": "mlpipe-e-7-m/algo-1-1"})
        for operation in ("DescribeLogStreams", "GetLogEvents")
        for group in ("TrainingJobs", "ProcessingJobs")
    ),
]


@pytest.mark.parametrize("call", [*job_calls(), *OTHER_CALLS], ids=lambda call: f"{call.service}:{call.operation}")
def test_the_caller_may_do_what_the_backend_does(call: Call):
    assert allowed(call)


@pytest.mark.parametrize("call", job_calls(name="somebody-elses"), ids=lambda call: call.operation)
def test_the_caller_has_no_say_in_jobs_that_are_not_of_mlpipe(call: Call):
    assert not allowed(call)


@pytest.mark.parametrize(
    "need",
    [
        Need("iam:PassRole", f"arn:aws:iam::{ACCOUNT}:role/admin", {"iam:PassedToService": "sagemaker.amazonaws.com"}),
        Need("iam:PassRole", ROLE, {"iam:PassedToService": "ec2.amazonaws.com"}),
        Need("iam:PassRole", ROLE),
        Need("sagemaker:CreateEndpoint", f"arn:aws:sagemaker:{REGION}:{ACCOUNT}:endpoint/mlpipe-1"),
        Need("ecr:DescribeImages", f"arn:aws:ecr:{REGION}:{ACCOUNT}:repository/other"),
        Need("logs:GetLogEvents", f"arn:aws:logs:{REGION}:{ACCOUNT}:log-group:/aws/lambda/x:log-stream:mlpipe-1"),
        Need("s3:GetObject", "arn:aws:s3:::data/teammates/a"),
        Need("s3:GetObject", "arn:aws:s3:::other/team/a"),
        Need("s3:DeleteBucket", "arn:aws:s3:::data"),
        Need("s3:ListBucket", "arn:aws:s3:::data", {"s3:prefix": ""}),
        Need("s3:ListBucket", "arn:aws:s3:::data", {"s3:prefix": "teammates/"}),
        Need("secretsmanager:GetSecretValue", f"arn:aws:secretsmanager:{REGION}:{ACCOUNT}:secret:mlpipe/wandb-AbCdEf"),
    ],
    ids=lambda need: f"{need.action} {need.resource}",
)
def test_the_caller_may_do_nothing_else(need: Need):
    assert not caller().allows(need)


def test_the_caller_may_send_every_request_that_a_storage_in_a_bucket_sends(bucket: str, proxy: Proxy, tmp_path: Path):
    storage = S3Storage(f"s3://{bucket}/team")
    (tmp_path / "files").mkdir()
    (tmp_path / "files" / "small").write_bytes(b"1")
    (tmp_path / "files" / "large").write_bytes(b"2" * (17 * 1024**2))
    assert storage.create("e/runs/1/claim.json", b"{}")
    assert storage.replace("e/runs/1/claim.json", b"[]", b"{}")
    storage.store(tmp_path / "files", "e/attempts/a")
    assert storage.publish("e/attempts/a", "e/unit")
    storage.fetch("e/unit", tmp_path / "fetched")
    assert storage.exists("e/unit/large")
    assert storage.folders("e") == ["runs", "unit"]
    storage.delete("e/unit")
    storage.abort_orphans(timedelta(0))

    sent = [s3_call(request.method, request.path, request.headers, request.body) for request in proxy.requests]
    assert {call.operation for call in sent} >= {
        *("HeadObject", "GetObject", "PutObject", "CopyObject", "DeleteObjects", "ListObjectsV2"),
        *("CreateMultipartUpload", "UploadPart", "CompleteMultipartUpload", "ListMultipartUploads"),
    }
    assert [call for call in sent if not allowed(call, caller(bucket))] == []
    assert not any(allowed(call, caller("other")) for call in sent)


def test_an_upload_that_is_aborted_or_copied_in_parts_is_within_the_policy():
    given = {"Bucket": "data", "Key": "team/a", "CopySource": {"Bucket": "data", "Key": "team/b"}}
    for operation in ("AbortMultipartUpload", "ListParts", "UploadPartCopy", "DeleteObject"):
        assert allowed(Call("s3", operation, given))
    assert not allowed(Call("s3", "CopyObject", {**given, "CopySource": "other/team/b"}))


def role() -> Policy:
    return Policy("role.json", BUCKET="data", PREFIX="team", REPOSITORY="mlpipe")


@pytest.mark.parametrize(
    ("need", "expected"),
    [
        (Need("s3:GetObject", "arn:aws:s3:::data/team/e/data/prepared/0/train/data.arrow"), True),
        (Need("s3:PutObject", "arn:aws:s3:::data/team/e/runs/1/attempts/0/model/model.pt"), True),
        (Need("s3:DeleteObject", "arn:aws:s3:::data/team/e/runs/1/checkpoints/m/step-1/state.pt"), True),
        (Need("s3:DeleteObject", "arn:aws:s3:::data/team/e/runs/1/models/m/model.pt"), False),
        (Need("s3:GetObject", "arn:aws:s3:::other/team/e"), False),
        (Need("cloudwatch:PutMetricData", "*", {"cloudwatch:namespace": "/aws/sagemaker/TrainingJobs"}), True),
        (Need("cloudwatch:PutMetricData", "*", {"cloudwatch:namespace": "Production"}), False),
        (Need("sagemaker:CreateTrainingJob", f"arn:aws:sagemaker:{REGION}:{ACCOUNT}:training-job/mlpipe-1"), False),
        (Need("iam:PassRole", ROLE, {"iam:PassedToService": "sagemaker.amazonaws.com"}), False),
        (Need("ecr:PutImage", f"arn:aws:ecr:{REGION}:{ACCOUNT}:repository/mlpipe"), False),
    ],
    ids=lambda value: f"{value.action} {value.resource}" if isinstance(value, Need) else str(value),
)
def test_the_role_of_the_jobs_reads_and_writes_the_storage_and_no_more(need: Need, expected: bool):
    assert role().allows(need) is expected


def test_secrets_are_for_the_role_and_only_those_of_mlpipe():
    secrets = Policy("role-secrets.json")
    arn = f"arn:aws:secretsmanager:{REGION}:{ACCOUNT}:secret:"
    assert secrets.allows(Need("secretsmanager:GetSecretValue", f"{arn}mlpipe/wandb-AbCdEf"))
    assert secrets.allows(Need("ssm:GetParameter", f"arn:aws:ssm:{REGION}:{ACCOUNT}:parameter/mlpipe/wandb"))
    assert not secrets.allows(Need("secretsmanager:GetSecretValue", f"{arn}database-AbCdEf"))


def test_the_role_is_for_sagemaker_in_this_account_alone():
    (statement,) = json.loads((FOLDER / "trust.json").read_text())["Statement"]
    assert statement["Principal"] == {"Service": "sagemaker.amazonaws.com"}
    assert statement["Condition"] == {"StringEquals": {"aws:SourceAccount": "ACCOUNT_ID"}}


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.json")), ids=lambda path: path.name)
def test_a_policy_has_placeholders_where_accounts_differ_and_no_wildcard_for_actions(path: Path):
    text = path.read_text()
    assert not re.search(r"\d{12}", text), "an account's number"
    assert set(re.findall(r"\b[A-Z][A-Z_]{3,}\b", text)) <= PLACEHOLDERS
    for statement in json.loads(text)["Statement"]:
        assert "*" not in "".join(statement["Action"])
        if "*" in statement.get("Resource", ()):
            assert statement["Sid"] in ("KnowTheAccount", "LogInToTheRegistry", "WriteMetrics", "LookAtTheNetwork")


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.json")), ids=lambda path: path.name)
def test_the_page_about_aws_names_every_policy_and_fills_it_in(path: Path):
    page = (ROOT / "docs" / "aws.md").read_text()
    assert re.search(rf"^\| .*\b{path.name}\b", page, re.MULTILINE)
    function = re.search(r"^    fill\(\) \{\n.*?^    \}\n", page, re.MULTILINE | re.DOTALL)
    assert function
    values = {name: f"a-{number}/b" for number, name in enumerate(sorted(PLACEHOLDERS - {"REGION"}))}
    done = subprocess.run(
        ["bash", "-euc", f"{function[0]}\nfill {path.name}"],
        env={"PATH": os.environ["PATH"], "AWS_REGION": "eu-central-1", **values},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    expected = re.sub(
        "|".join(PLACEHOLDERS), lambda found: {**values, "REGION": "eu-central-1"}[found[0]], path.read_text()
    )
    assert json.loads(done.stdout) == json.loads(expected)


def test_a_call_that_nobody_has_thought_of_is_an_error():
    with pytest.raises(AssertionError, match="does not know what sagemaker:DeleteModel needs"):
        needs_of(Call("sagemaker", "DeleteModel"))
