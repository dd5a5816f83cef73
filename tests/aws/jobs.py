"""What the service knows of a job, and what Describe says of it."""

from __future__ import annotations

import math
import re
import threading
import time
from collections.abc import Mapping
from typing import Any

from aws.objects import joined

ARN = "arn:aws:sagemaker:us-east-1:123456789012"
ENDED = ("Completed", "Failed", "Stopped")
_ON_THE_WAY = ("Starting", "Downloading", "Training")
"""What a job that is being stopped does not go on to."""

SPOT_PRICE = 0.3
"""The part of its time that a spot training is billed here; any other than 1 tells the two times apart."""


class Job:
    """A job of any kind; threads share it, and whoever changes it holds `lock`."""

    kind = ""
    """The name of the kind in the API."""

    resource = ""
    """The name of the kind in an ARN."""

    def __init__(self, request: Mapping[str, Any]) -> None:
        self.request = request
        self.name: str = request[f"{self.kind}JobName"]
        self.arn = f"{ARN}:{self.resource}/{self.name}"
        self.tags = {tag["Key"]: tag["Value"] for tag in request.get("Tags", [])}
        self.lock = threading.RLock()
        self.stop_asked = threading.Event()
        self.has_ended = threading.Event()
        self.status = "InProgress"
        self.failure: str | None = None
        self.created = self.modified = time.time()
        self.started: float | None = None
        self.ended: float | None = None

    def stop(self) -> None:
        """Somebody asks for the job's end; nothing happens to one that has ended."""
        with self.lock:
            if self.status == "InProgress":
                self._touch("Stopping")
                self.stop_asked.set()

    def end(self, status: str, failure: str | None = None) -> None:
        """The job has ended; `has_ended` is set when everybody can see it."""
        with self.lock:
            self._touch(status)
            self.ended = self.modified
            self.failure = failure[:1024] if failure is not None else None
        self.has_ended.set()

    def describe(self) -> dict[str, Any]:
        """The reply to Describe."""
        raise NotImplementedError

    def _touch(self, status: str) -> None:
        self.status, self.modified = status, max(time.time(), self.modified)

    def _asked(self) -> dict[str, Any]:
        return {key: value for key, value in self.request.items() if key != "Tags"}

    def _times(self, prefix: str) -> dict[str, float]:
        times = {"CreationTime": self.created, "LastModifiedTime": self.modified}
        known = {f"{prefix}StartTime": self.started, f"{prefix}EndTime": self.ended}
        return times | {name: value for name, value in known.items() if value is not None}

    def _failed(self) -> dict[str, str]:
        return {"FailureReason": self.failure} if self.failure is not None else {}


class TrainingJob(Job):
    """A training job, with its secondary statuses and the metrics that its log has shown."""

    kind, resource = "Training", "training-job"

    def __init__(self, request: Mapping[str, Any], tuning_arn: str | None = None) -> None:
        super().__init__(request)
        self.tuning_arn = tuning_arn
        self.metrics: dict[str, tuple[float, float]] = {}
        """The latest value of each metric, and when it came."""
        definitions = request["AlgorithmSpecification"].get("MetricDefinitions", [])
        self._regexes = {entry["Name"]: re.compile(entry["Regex"]) for entry in definitions}
        self._transitions: list[dict[str, Any]] = []
        self.enter("Starting", "Preparing the instances for training")

    @property
    def is_spot(self) -> bool:
        """Whether it may be interrupted."""
        return bool(self.request.get("EnableManagedSpotTraining"))

    @property
    def secondary(self) -> str:
        """The newest secondary status."""
        return str(self._transitions[-1]["Status"])

    @property
    def artifacts(self) -> str:
        """Where the model is, or would be; of an uncompressed one the folder, without a slash at its end."""
        output = self.request["OutputDataConfig"]
        name = "model" if output.get("CompressionType") == "NONE" else "model.tar.gz"
        return joined(output["S3OutputPath"], self.name, "output", name)

    def enter(self, secondary: str, message: str) -> None:
        """Go on to a secondary status."""
        with self.lock:
            now = time.time()
            if secondary == "Downloading" and self.started is None:
                self.started = now
            if self.status == "Stopping" and secondary in _ON_THE_WAY:
                return
            if self._transitions:
                self._transitions[-1]["EndTime"] = now
            self._transitions.append({"Status": secondary, "StartTime": now, "StatusMessage": message})
            self.modified = now

    def stop(self) -> None:
        """See `Job.stop`."""
        with self.lock:
            if self.status == "InProgress":
                self.enter("Stopping", "Stopping the training job")
            super().stop()

    def finish(self, status: str, secondary: str, failure: str | None = None) -> None:
        """End in this status and secondary status."""
        with self.lock:
            self.enter(secondary, failure or f"Training job {status.lower()}")
            self._transitions[-1]["EndTime"] = time.time()
            self.end(status, failure)

    def observe(self, line: str) -> None:
        """Read a line of the log as the service does: the latest match of a metric's regex is its value."""
        for name, pattern in self._regexes.items():
            for match in pattern.finditer(line):
                with self.lock:
                    self.metrics[name] = (float(match.group(1)), time.time())

    def describe(self) -> dict[str, Any]:
        """The reply to DescribeTrainingJob."""
        with self.lock:
            document = self._asked() | self._times("Training") | self._failed() | self._billed()
            if self.tuning_arn:
                document["TuningJobArn"] = self.tuning_arn
            return document | {
                "TrainingJobArn": self.arn,
                "TrainingJobStatus": self.status,
                "SecondaryStatus": self.secondary,
                "SecondaryStatusTransitions": [dict(transition) for transition in self._transitions],
                "ModelArtifacts": {"S3ModelArtifacts": self.artifacts},
                "FinalMetricDataList": [
                    {"MetricName": name, "Value": value, "Timestamp": when}
                    for name, (value, when) in self.metrics.items()
                ],
            }

    def summary(self) -> dict[str, Any]:
        """The job in a list of training jobs."""
        with self.lock:
            times = {name: value for name, value in self._times("Training").items() if name != "TrainingStartTime"}
            names = {"TrainingJobName": self.name, "TrainingJobArn": self.arn}
            return names | times | {"TrainingJobStatus": self.status, "SecondaryStatus": self.secondary}

    def _billed(self) -> dict[str, int]:
        if self.started is None or self.ended is None:
            return {}
        seconds = max(1, math.ceil(self.ended - self.started))
        billed = math.ceil(seconds * SPOT_PRICE) if self.is_spot else seconds
        return {"TrainingTimeInSeconds": seconds, "BillableTimeInSeconds": billed}


class ProcessingJob(Job):
    """A processing job; `message` is what its container left in output/message."""

    kind, resource = "Processing", "processing-job"

    def __init__(self, request: Mapping[str, Any]) -> None:
        super().__init__(request)
        self.message = ""

    def describe(self) -> dict[str, Any]:
        """The reply to DescribeProcessingJob."""
        with self.lock:
            document = self._asked() | self._times("Processing") | self._failed()
            if self.message and self.ended:
                document["ExitMessage"] = self.message[:1024]
            return document | {"ProcessingJobArn": self.arn, "ProcessingJobStatus": self.status}
