"""Answers whether a policy of docker/iam allows a call, so that tests can ask it about the calls that were made.

Of IAM's language this knows what those policies use: Allow, `*` and `?`, and the conditions StringEquals, StringLike
and Bool; a policy with anything else is an error. Which action on which resource a call needs is from the service
authorization reference (https://docs.aws.amazon.com/service-authorization/latest/reference/).
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit
from xml.etree import ElementTree

ACCOUNT, REGION = "111122223333", "eu-central-1"
FOLDER = Path(__file__).parents[1] / "docker" / "iam"


@dataclass(frozen=True)
class Need:
    """What a caller has to be allowed: an action on a resource, with the condition keys that the request has."""

    action: str
    resource: str = "*"
    context: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Call:
    """A request to a service: its name in boto3, the operation, and the parameters."""

    service: str
    operation: str
    parameters: Mapping[str, Any] = field(default_factory=dict)


class Policy:
    """A policy of docker/iam with its placeholders filled in."""

    def __init__(self, name: str, **placeholders: str) -> None:
        text = (FOLDER / name).read_text()
        for placeholder, value in {"ACCOUNT_ID": ACCOUNT, "REGION": REGION, **placeholders}.items():
            text = re.sub(rf"\b{placeholder}\b", value, text)
        self.statements = json.loads(text)["Statement"]

    def allows(self, need: Need) -> bool:
        """True where one statement allows it."""
        return any(_allows(statement, need) for statement in self.statements)


def _allows(statement: Mapping[str, Any], need: Need) -> bool:
    assert set(statement) <= {"Sid", "Effect", "Action", "Resource", "Condition"}
    assert statement["Effect"] == "Allow"
    conditions = statement.get("Condition", {})
    return (
        any(_matches(pattern, need.action, re.IGNORECASE) for pattern in statement["Action"])
        and any(_matches(pattern, need.resource) for pattern in statement["Resource"])
        and all(_holds(operator, keys, need.context) for operator, keys in conditions.items())
    )


def _holds(operator: str, keys: Mapping[str, Any], context: Mapping[str, str]) -> bool:
    assert operator in ("StringEquals", "StringLike", "Bool"), f"unknown operator {operator}"
    for key, expected in keys.items():
        values = [expected] if isinstance(expected, str) else expected
        patterns = [value if operator == "StringLike" else value.replace("*", "[*]") for value in values]
        if key not in context or not any(_matches(pattern, context[key]) for pattern in patterns):
            return False
    return True


def _matches(pattern: str, text: str, flags: int = 0) -> bool:
    wild = {"*": ".*", "?": "."}
    expression = "".join(wild.get(character) or re.escape(character) for character in pattern)
    return re.fullmatch(expression, text, flags | re.DOTALL) is not None


def needs_of(call: Call) -> list[Need]:
    """What the caller has to be allowed for this call; an error for a call that nobody has thought of."""
    known = _NEEDS.get((call.service, call.operation))
    assert known, f"tests/iam_policy.py does not know what {call.service}:{call.operation} needs"
    return known(call.parameters)


def s3_call(method: str, path: str, headers: Mapping[str, str], body: bytes) -> Call:
    """The call behind a request to S3 in path style: /bucket/key?query."""
    parts = urlsplit(path)
    query = parse_qs(parts.query, keep_blank_values=True)
    bucket, _, key = unquote(parts.path).removeprefix("/").partition("/")
    source = {name.lower(): value for name, value in headers.items()}.get("x-amz-copy-source", "")
    parameters: dict[str, Any] = {"Bucket": bucket, "Key": key, "CopySource": unquote(source)}
    if key:
        return Call("s3", _object_operation(method, query, bool(source)), parameters)
    if method == "POST" and "delete" in query:
        keys = [{"Key": element.text} for element in ElementTree.fromstring(body).iter() if element.tag.endswith("Key")]
        return Call("s3", "DeleteObjects", {**parameters, "Delete": {"Objects": keys}})
    operation = {"uploads": "ListMultipartUploads", "list-type": "ListObjectsV2"}[next(iter({*query} & _LISTINGS))]
    return Call("s3", operation, {**parameters, "Prefix": query.get("prefix", [""])[0]})


_LISTINGS = {"uploads", "list-type"}


def _object_operation(method: str, query: Mapping[str, list[str]], is_copy: bool) -> str:
    part = "uploadId" in query
    if method == "PUT" and is_copy:
        return "UploadPartCopy" if part else "CopyObject"
    if method == "POST":
        return "CompleteMultipartUpload" if part else "CreateMultipartUpload"
    if part:
        return {"PUT": "UploadPart", "DELETE": "AbortMultipartUpload", "GET": "ListParts"}[method]
    return {"PUT": "PutObject", "DELETE": "DeleteObject", "GET": "GetObject", "HEAD": "HeadObject"}[method]


Needs = Callable[[Mapping[str, Any]], list[Need]]


def _arn(service: str, resource: str) -> str:
    return f"arn:aws:{service}:{REGION}:{ACCOUNT}:{resource}"


def _on_object(action: str) -> Needs:
    return lambda given: [Need(action, f"arn:aws:s3:::{given['Bucket']}/{given['Key']}")]


def _on_bucket(action: str) -> Needs:
    return lambda given: [Need(action, f"arn:aws:s3:::{given['Bucket']}", {"s3:prefix": given.get("Prefix", "")})]


def _copy(given: Mapping[str, Any]) -> list[Need]:
    source = given["CopySource"]
    read = f"{source['Bucket']}/{source['Key']}" if isinstance(source, Mapping) else source.removeprefix("/")
    return [Need("s3:GetObject", f"arn:aws:s3:::{read}"), *_on_object("s3:PutObject")(given)]


def _delete_several(given: Mapping[str, Any]) -> list[Need]:
    keys = [entry["Key"] for entry in given["Delete"]["Objects"]]
    return [Need("s3:DeleteObject", f"arn:aws:s3:::{given['Bucket']}/{key}") for key in keys]


def _on_job(operation: str, kind: str, name: str) -> Needs:
    def needs(given: Mapping[str, Any]) -> list[Need]:
        arn = _arn("sagemaker", f"{kind}/{given[name]}")
        found = [Need(f"sagemaker:{operation}", arn)]
        if given.get("Tags"):
            found.append(Need("sagemaker:AddTags", arn))
        role = given.get("RoleArn") or given.get("TrainingJobDefinition", {}).get("RoleArn")
        if role:
            found.append(Need("iam:PassRole", role, {"iam:PassedToService": "sagemaker.amazonaws.com"}))
        return found

    return needs


def _on_tags(action: str) -> Needs:
    return lambda given: [Need(action, given["ResourceArn"])]


def _on_log_stream(given: Mapping[str, Any]) -> list[Need]:
    group, stream = given["logGroupName"], given["logStreamName"]
    return [Need("logs:GetLogEvents", _arn("logs", f"log-group:{group}:log-stream:{stream}"))]


_JOBS = {
    ("TrainingJob", "training-job", "TrainingJobName"),
    ("ProcessingJob", "processing-job", "ProcessingJobName"),
    ("HyperParameterTuningJob", "hyper-parameter-tuning-job", "HyperParameterTuningJobName"),
}

_NEEDS: Mapping[tuple[str, str], Needs] = {
    ("sts", "GetCallerIdentity"): lambda _: [Need("sts:GetCallerIdentity")],
    ("iam", "GetRole"): lambda given: [Need("iam:GetRole", f"arn:aws:iam::{ACCOUNT}:role/{given['RoleName']}")],
    ("ecr", "DescribeImages"): lambda given: [
        Need("ecr:DescribeImages", _arn("ecr", f"repository/{given['repositoryName']}"))
    ],
    ("logs", "GetLogEvents"): _on_log_stream,
    ("logs", "DescribeLogStreams"): lambda given: [
        Need("logs:DescribeLogStreams", _arn("logs", f"log-group:{given['logGroupName']}"))
    ],
    ("s3", "HeadBucket"): lambda given: [Need("s3:ListBucket", f"arn:aws:s3:::{given['Bucket']}")],
    ("s3", "ListObjectsV2"): _on_bucket("s3:ListBucket"),
    ("s3", "ListMultipartUploads"): _on_bucket("s3:ListBucketMultipartUploads"),
    ("s3", "HeadObject"): _on_object("s3:GetObject"),
    ("s3", "GetObject"): _on_object("s3:GetObject"),
    ("s3", "PutObject"): _on_object("s3:PutObject"),
    ("s3", "CreateMultipartUpload"): _on_object("s3:PutObject"),
    ("s3", "UploadPart"): _on_object("s3:PutObject"),
    ("s3", "CompleteMultipartUpload"): _on_object("s3:PutObject"),
    ("s3", "AbortMultipartUpload"): _on_object("s3:AbortMultipartUpload"),
    ("s3", "ListParts"): _on_object("s3:ListMultipartUploadParts"),
    ("s3", "CopyObject"): _copy,
    ("s3", "UploadPartCopy"): _copy,
    ("s3", "DeleteObject"): _on_object("s3:DeleteObject"),
    ("s3", "DeleteObjects"): _delete_several,
    ("sagemaker", "AddTags"): _on_tags("sagemaker:AddTags"),
    ("sagemaker", "ListTags"): _on_tags("sagemaker:ListTags"),
    ("sagemaker", "ListTrainingJobsForHyperParameterTuningJob"): _on_job(
        "ListTrainingJobsForHyperParameterTuningJob", "hyper-parameter-tuning-job", "HyperParameterTuningJobName"
    ),
    **{
        ("sagemaker", verb + operation): _on_job(verb + operation, kind, name)
        for verb in ("Create", "Describe", "Stop")
        for operation, kind, name in _JOBS
    },
}
