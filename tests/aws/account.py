"""A running fake together with clients: create a job, wait for its end, look at what it left."""

from __future__ import annotations

import contextlib
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import moto_server
from aws.fake import FakeSageMaker


@dataclass(frozen=True)
class Account:
    """A running fake, clients of it and of the server beside it, and what tests do with them."""

    fake: FakeSageMaker
    sagemaker: Any
    s3: Any
    logs: Any
    bucket: str

    def ended(self, kind: str, name: str) -> dict[str, Any]:
        """What Describe says of a job when it has ended."""
        describe = {
            "Training": "training",
            "Processing": "processing",
            "HyperParameterTuning": "hyper_parameter_tuning",
        }
        call = getattr(self.sagemaker, f"describe_{describe[kind]}_job")
        while True:
            document = call(**{f"{kind}JobName": name})
            if document[f"{kind}JobStatus"] in ("Completed", "Failed", "Stopped"):
                return dict(document)
            time.sleep(0.03)

    def train(self, request: dict[str, Any]) -> dict[str, Any]:
        """Create a training job and wait for its end."""
        self.sagemaker.create_training_job(**request)
        return self.ended("Training", request["TrainingJobName"])

    def process(self, request: dict[str, Any]) -> dict[str, Any]:
        """Create a processing job and wait for its end."""
        self.sagemaker.create_processing_job(**request)
        return self.ended("Processing", request["ProcessingJobName"])

    def tune(self, request: dict[str, Any]) -> dict[str, Any]:
        """Create a tuning job and wait for its end."""
        self.sagemaker.create_hyper_parameter_tuning_job(**request)
        return self.ended("HyperParameterTuning", request["HyperParameterTuningJobName"])

    def objects(self, prefix: str = "") -> dict[str, bytes]:
        """Everything below a prefix of the bucket, by the rest of its key."""
        found = self.s3.list_objects_v2(Bucket=self.bucket, Prefix=prefix).get("Contents", [])
        return {
            entry["Key"].removeprefix(prefix): self.s3.get_object(Bucket=self.bucket, Key=entry["Key"])["Body"].read()
            for entry in found
        }

    def put(self, objects: dict[str, bytes]) -> None:
        """Store objects by key."""
        for key, content in objects.items():
            self.s3.put_object(Bucket=self.bucket, Key=key, Body=content)

    def upload(self, folder: Path, prefix: str) -> None:
        """Store the files below a folder, links followed."""
        paths = [path for path in folder.rglob("*") if path.is_file()]
        self.put({f"{prefix}{path.relative_to(folder).as_posix()}": path.read_bytes() for path in paths})

    def log(self, job: str, kind: str = "Training") -> dict[str, list[str]]:
        """The lines in CloudWatch, by stream."""
        group = f"/aws/sagemaker/{kind}Jobs"
        names = self.logs.describe_log_streams(logGroupName=group, logStreamNamePrefix=f"{job}/")["logStreams"]
        return {name["logStreamName"]: self._messages(group, name["logStreamName"]) for name in names}

    def wait_for_line(self, job: str, line: str, kind: str = "Training") -> None:
        """Return when a line is in CloudWatch."""
        while True:
            with contextlib.suppress(self.logs.exceptions.ResourceNotFoundException):
                if any(line in lines for lines in self.log(job, kind).values()):
                    return
            time.sleep(0.03)

    def _messages(self, group: str, stream: str) -> list[str]:
        events = self.logs.get_log_events(logGroupName=group, logStreamName=stream, startFromHead=True)["events"]
        return [event["message"] for event in events]

    @classmethod
    def of(cls, fake: FakeSageMaker, endpoint: str, bucket: str) -> Account:
        """Clients of a fake, and of the server at `endpoint`, which has the bucket."""
        s3, logs = moto_server.client("s3", endpoint), moto_server.client("logs", endpoint)
        return cls(fake, moto_server.client("sagemaker", fake.url), s3, logs, bucket)
