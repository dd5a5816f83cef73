"""What SageMaker says of a job, as a JobStatus."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from mlpipe.backends.base import JobState, JobStatus
from mlpipe.errors import error_classes

STATES = {
    "InProgress": JobState.IN_PROGRESS,
    "Stopping": JobState.IN_PROGRESS,
    "Completed": JobState.COMPLETED,
    "Failed": JobState.FAILED,
    "Stopped": JobState.FAILED,
}
"""Every status of the service: a job that was stopped has not done its work."""

_STOPPED = {
    "MaxRuntimeExceeded": "it ran longer than [SAGEMAKER] MAX_RUNTIME and was stopped",
    "MaxWaitTimeExceeded": "it waited longer than [SAGEMAKER] MAX_WAIT for spot capacity and was stopped",
}
_HINTS = {
    "CapacityError": "no machine of this type is free: take another [SAGEMAKER] INSTANCE_TYPE, or try again later",
    "InternalServerError": "the service failed: the same command again starts the job anew",
    "ClientError": "the service could not start the job: check the image, the role, and what it may read",
}
_REPORT = re.compile(r"AlgorithmError: (?P<report>.*?)(, exit code: \d+)?\Z", re.DOTALL)


def training_status(job: Mapping[str, Any], output: str) -> JobStatus:
    """The status of a described training job; `output` is the storage key of its model."""
    state = STATES[job["TrainingJobStatus"]]
    failure = _failure(job["TrainingJobStatus"], job.get("SecondaryStatus", ""), job.get("FailureReason", ""))
    resources = job["ResourceConfig"]
    machine = {
        "image": job["AlgorithmSpecification"].get("TrainingImage", ""),
        "instance_type": resources["InstanceType"],
        "instance_count": resources["InstanceCount"],
        "is_spot": job.get("EnableManagedSpotTraining", False),
        "billable_seconds": job.get("BillableTimeInSeconds", _unstarted(state, job, "TrainingStartTime")),
        "training_seconds": job.get("TrainingTimeInSeconds"),
    }
    return _status(state, failure, output, job, machine)


def processing_status(job: Mapping[str, Any], output: str) -> JobStatus:
    """The status of a described processing job; `output` is the storage key of what it produced."""
    state = STATES[job["ProcessingJobStatus"]]
    reason = job.get("ExitMessage") or job.get("FailureReason", "")
    failure = _failure(job["ProcessingJobStatus"], "", reason)
    cluster = job["ProcessingResources"]["ClusterConfig"]
    seconds = _between(job, "ProcessingStartTime", "ProcessingEndTime")
    machine = {
        "image": job["AppSpecification"]["ImageUri"],
        "instance_type": cluster["InstanceType"],
        "instance_count": cluster["InstanceCount"],
        "is_spot": False,
        "billable_seconds": _unstarted(state, job, "ProcessingStartTime") if seconds is None else round(seconds),
    }
    return _status(state, failure, output, job, machine)


def tuning_status(job: Mapping[str, Any], output: str) -> JobStatus:
    """The status of a described tuning job; `output` is the storage key of its best trial's model."""
    state = STATES[job["HyperParameterTuningJobStatus"]]
    failure = _failure(job["HyperParameterTuningJobStatus"], "", job.get("FailureReason", ""))
    seconds = _between(job, "CreationTime", "HyperParameterTuningEndTime")
    if state is JobState.IN_PROGRESS:
        return JobStatus(state)
    if state is JobState.FAILED:
        return JobStatus(state, failure, seconds=seconds)
    return JobStatus(state, output=output, seconds=seconds)


def _status(
    state: JobState, failure: str, output: str, job: Mapping[str, Any], machine: Mapping[str, Any]
) -> JobStatus:
    """The status; what the service does not say of the machine, None, is left out of it."""
    if state is JobState.IN_PROGRESS:
        return JobStatus(state)
    machine = {key: value for key, value in machine.items() if value is not None}
    end = "TrainingEndTime" if "TrainingJobName" in job else "ProcessingEndTime"
    seconds = _between(job, "CreationTime", end)
    if state is JobState.FAILED:
        return JobStatus(state, failure, seconds=seconds, machine=machine)
    return JobStatus(state, output=output, seconds=seconds, machine=machine)


def _failure(status: str, secondary: str, reason: str) -> str:
    """The failure as jobs report it, `Class: message` and a hint on the next line."""
    if status == "Stopped":
        return f"JobError: {_STOPPED.get(secondary, 'it was stopped')}"
    match = _REPORT.match(reason)
    report = match["report"] if match else reason
    if report.partition(": ")[0] in error_classes():
        return report
    hint = _HINTS.get(reason.partition(":")[0], "")
    return f"JobError: {reason or 'the service gives no reason'}" + (f"\n  {hint}" if hint else "")


def _unstarted(state: JobState, job: Mapping[str, Any], start: str) -> int | None:
    """The billable seconds of a job that failed without having started, 0; None where nothing follows.

    A job is billed from its start to its end, and one that found no machine or no image has no start:
    https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_DescribeTrainingJob.html
    """
    return 0 if state is JobState.FAILED and job.get(start) is None else None


def _between(job: Mapping[str, Any], start: str, end: str) -> float | None:
    """Seconds between two times of a described job; None where one is missing."""
    if job.get(start) is None or job.get(end) is None:
        return None
    seconds: float = (job[end] - job[start]).total_seconds()
    return seconds
