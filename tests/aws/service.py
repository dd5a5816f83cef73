"""The operations of the API on the jobs that the fake knows."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from aws.jobs import Job, ProcessingJob, TrainingJob
from aws.platform import Platform
from aws.processing import run_processing
from aws.refusals import ApiError, invalid, unsupported
from aws.rules import check_rules
from aws.training import run_training
from aws.tuning import TuningJob
from aws.validation import check_body

PAGE = 10
"""How many jobs a list holds where the caller does not say."""

Body = Mapping[str, Any]
J = TypeVar("J", bound=Job)

_UNIQUE = "names must be unique within an AWS account and region, and a"
_TAKEN = {
    TrainingJob: f"Training job {_UNIQUE} training job with this name already exists",
    ProcessingJob: f"Job {_UNIQUE} job with this name already exists",
    TuningJob: f"Hyper parameter tuning job {_UNIQUE} tuning job with this name already exists",
}


def _missing(kind: type[Job], name: str) -> ApiError:
    """What the service says of a name that it does not know; for two kinds of job it is no ResourceNotFound."""
    if kind is TrainingJob:
        return invalid("Requested resource not found.")
    if kind is ProcessingJob:
        return invalid(f"Could not find requested job with name: {name}")
    return ApiError("ResourceNotFound", f"Amazon SageMaker can't find a tuning job with the name {name}")


class Service:
    """Jobs by kind and name, and the operations on them."""

    def __init__(self, platform: Platform) -> None:
        self._platform = platform
        self._jobs: dict[tuple[type[Job], str], Job] = {}
        self._lock = threading.Lock()
        self._operations: dict[str, Callable[[Body], dict[str, Any]]] = {
            "CreateTrainingJob": self._create_training,
            "CreateProcessingJob": self._create_processing,
            "CreateHyperParameterTuningJob": self._create_tuning,
            "ListTrainingJobs": self._list_training,
            "ListTrainingJobsForHyperParameterTuningJob": self._list_trials,
            "AddTags": self._add_tags,
            "ListTags": self._list_tags,
        }
        for kind in (TrainingJob, ProcessingJob, TuningJob):
            self._operations[f"Describe{kind.kind}Job"] = self._describer(kind)
            self._operations[f"Stop{kind.kind}Job"] = self._stopper(kind)

    def call(self, operation: str, body: Body) -> dict[str, Any]:
        """Do what a request asks; raises ApiError."""
        check_body(operation, body)
        check_rules(operation, body)
        if operation not in self._operations:
            raise unsupported(f"the operation {operation}")
        return self._operations[operation](body)

    def _create_training(self, body: Body) -> dict[str, Any]:
        return {"TrainingJobArn": self._start_training(body).arn}

    def _start_training(self, body: Body, tuning_arn: str | None = None) -> TrainingJob:
        job = self._add(TrainingJob(body, tuning_arn))
        self._platform.spawn(run_training, self._platform, job)
        return job

    def _start_trial(self, request: Body, tuning_arn: str) -> TrainingJob:
        check_body("CreateTrainingJob", request)
        check_rules("CreateTrainingJob", request)
        return self._start_training(request, tuning_arn)

    def _create_processing(self, body: Body) -> dict[str, Any]:
        job = self._add(ProcessingJob(body))
        self._platform.spawn(run_processing, self._platform, job)
        return {"ProcessingJobArn": job.arn}

    def _create_tuning(self, body: Body) -> dict[str, Any]:
        job = self._add(TuningJob(body))
        self._platform.spawn(job.run, self._start_trial, self._platform.closing)
        return {"HyperParameterTuningJobArn": job.arn}

    def _add(self, job: J) -> J:
        with self._lock:
            other = self._jobs.setdefault((type(job), job.name), job)
        if other is not job:
            raise ApiError("ResourceInUse", f"{_TAKEN[type(job)]} ({other.arn})")
        return job

    def _find(self, kind: type[J], body: Body) -> J:
        name = body[f"{kind.kind}JobName"]
        job = self._jobs.get((kind, name))
        if not isinstance(job, kind):
            raise _missing(kind, name)
        return job

    def _describer(self, kind: type[Job]) -> Callable[[Body], dict[str, Any]]:
        return lambda body: self._find(kind, body).describe()

    def _stopper(self, kind: type[Job]) -> Callable[[Body], dict[str, Any]]:
        def stop(body: Body) -> dict[str, Any]:
            job = self._find(kind, body)
            with job.lock:
                if job.has_ended.is_set():
                    raise invalid(f"The request was rejected because the job is in status {job.status}.")
                job.stop()
            return {}

        return stop

    def _list_training(self, body: Body) -> dict[str, Any]:
        unknown = set(body) - {"NextToken", "MaxResults", "NameContains", "StatusEquals", "SortBy", "SortOrder"}
        if unknown:
            raise unsupported(f"{sorted(unknown)} in ListTrainingJobs")
        with self._lock:
            jobs = [job for job in self._jobs.values() if isinstance(job, TrainingJob)]
        found = [job.summary() for job in jobs if body.get("NameContains", "") in job.name]
        return _page(found, {"SortBy": "CreationTime", "SortOrder": "Descending", **body})

    def _list_trials(self, body: Body) -> dict[str, Any]:
        trials = [trial.summary() for trial in list(self._find(TuningJob, body).trials)]
        if body.get("SortBy") == "FinalObjectiveMetricValue":
            trials = [trial for trial in trials if "FinalHyperParameterTuningJobObjectiveMetric" in trial]
        return _page(trials, body)

    def _tagged(self, body: Body) -> Job:
        with self._lock:
            jobs = list(self._jobs.values())
        for job in jobs:
            if job.arn == body["ResourceArn"]:
                return job
        raise invalid(f"Could not find resource {body['ResourceArn']}")

    def _add_tags(self, body: Body) -> dict[str, Any]:
        job = self._tagged(body)
        job.tags |= {tag["Key"]: tag["Value"] for tag in body["Tags"]}
        return {"Tags": body["Tags"]}

    def _list_tags(self, body: Body) -> dict[str, Any]:
        return {"Tags": [{"Key": key, "Value": value} for key, value in self._tagged(body).tags.items()]}


def _page(summaries: Sequence[dict[str, Any]], body: Body) -> dict[str, Any]:
    """One page of a list of training jobs, in the order and of the status that is asked for."""
    keys: dict[str, Callable[[dict[str, Any]], Any]] = {
        "Name": lambda job: job["TrainingJobName"],
        "CreationTime": lambda job: job["CreationTime"],
        "Status": lambda job: job["TrainingJobStatus"],
        "FinalObjectiveMetricValue": lambda job: job["FinalHyperParameterTuningJobObjectiveMetric"]["Value"],
    }
    wanted = [
        job for job in summaries if body.get("StatusEquals", job["TrainingJobStatus"]) == job["TrainingJobStatus"]
    ]
    wanted.sort(key=keys[body.get("SortBy", "Name")], reverse=body.get("SortOrder", "Ascending") == "Descending")
    start = int(body.get("NextToken", "0"))
    end = start + body.get("MaxResults", PAGE)
    page = {"TrainingJobSummaries": wanted[start:end]}
    return page | ({"NextToken": str(end)} if end < len(wanted) else {})
