"""A tuning job: trials drawn from its ranges, each a training job, scored by the latest value of the objective."""

from __future__ import annotations

import struct
import threading
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from aws.faults import INTERNAL_ERROR
from aws.jobs import Job, TrainingJob
from aws.platform import TICK
from aws.rules import OBJECTIVE_HYPERPARAMETER
from aws.sampling import draws

NO_METRIC_TRIALS = 5
"""After so many trials without the objective metric the service gives up."""

ALL_FAILED = "All training jobs failed. Please take a look at the training jobs failures to get more details."
NO_METRICS = (
    "No objective metrics found after running {} training jobs. Please ensure that the custom algorithm is emitting "
    "the objective metric as defined by the regular expression provided."
)

StartTrial = Callable[[Mapping[str, Any], str], TrainingJob]
"""Starts the training job of a request, for the tuning job with this ARN."""


@dataclass(frozen=True)
class Trial:
    """A training job of a tuning job, and what was drawn for it."""

    job: TrainingJob
    drawn: Mapping[str, str]
    metric: str

    @property
    def value(self) -> float | None:
        """The objective: the latest value in the log, as the 32-bit number that the API's model makes of it."""
        if self.metric not in self.job.metrics:
            return None
        return float(struct.unpack("f", struct.pack("f", self.job.metrics[self.metric][0]))[0])

    @property
    def objective_status(self) -> str:
        """Succeeded, Pending, or Failed."""
        if not self.job.has_ended.is_set():
            return "Pending"
        return "Succeeded" if self.value is not None and self.job.status != "Failed" else "Failed"

    def summary(self) -> dict[str, Any]:
        """The trial in a list of trials, and as the best one."""
        with self.job.lock:
            document = self.job.summary() | {"TunedHyperParameters": dict(self.drawn)}
            for key in ("LastModifiedTime", "SecondaryStatus"):
                del document[key]
            if self.job.started is not None:
                document["TrainingStartTime"] = self.job.started
            if self.job.failure is not None:
                document["FailureReason"] = self.job.failure
            if self.objective_status == "Succeeded":
                metric = {"MetricName": self.metric, "Value": self.value}
                document["FinalHyperParameterTuningJobObjectiveMetric"] = metric
            return document | {"ObjectiveStatus": self.objective_status}


class TuningJob(Job):
    """A tuning job and its trials."""

    kind, resource = "HyperParameterTuning", "hyper-parameter-tuning-job"

    def __init__(self, request: Mapping[str, Any]) -> None:
        super().__init__(request)
        self.trials: list[Trial] = []
        self.config = request["HyperParameterTuningJobConfig"]
        self._objective = self.config["HyperParameterTuningJobObjective"]

    def run(self, start: StartTrial, closing: threading.Event) -> None:
        """Run trials until there are enough of them, somebody stops the job, or it makes no sense to go on."""
        limits, drawn = self.config["ResourceLimits"], draws(self.config)
        has_more = True
        while True:
            running = [trial for trial in self.trials if not trial.job.has_ended.is_set()]
            is_over = self.stop_asked.is_set() or self._is_good_enough() or self._is_hopeless() or closing.is_set()
            if is_over:
                for trial in running:
                    trial.job.stop()
            has_more = has_more and not is_over and len(self.trials) < limits.get("MaxNumberOfTrainingJobs", 750)
            if has_more and len(running) < limits["MaxParallelTrainingJobs"]:
                has_more = self._start_trial(next(drawn, None), start)
            elif running:
                running[0].job.has_ended.wait(TICK)
            elif not has_more:
                break
        self._conclude()

    def best(self) -> Trial | None:
        """The trial with the best objective; of equal ones the first."""
        scored = [trial for trial in self.trials if trial.objective_status == "Succeeded"]
        sign = 1 if self._objective["Type"] == "Maximize" else -1
        return max(scored, key=lambda trial: sign * (trial.value or 0.0), default=None)

    def describe(self) -> dict[str, Any]:
        """The reply to DescribeHyperParameterTuningJob."""
        with self.lock:
            document = self._asked() | self._failed() | self._counters()
            document |= {"CreationTime": self.created, "LastModifiedTime": self.modified}
            if self.ended is not None:
                document["HyperParameterTuningEndTime"] = self.ended
            best = self.best()
            if best is not None:
                document["BestTrainingJob"] = best.summary()
            return document | {
                "HyperParameterTuningJobArn": self.arn,
                "HyperParameterTuningJobStatus": self.status,
            }

    def _start_trial(self, drawn: Mapping[str, str] | None, start: StartTrial) -> bool:
        """Start one more; returns whether there was one."""
        if drawn is None:
            return False
        job = start(self._request(drawn, len(self.trials) + 1), self.arn)
        with self.lock:
            self.trials.append(Trial(job, drawn, self._objective["MetricName"]))
        return True

    def _request(self, drawn: Mapping[str, str], number: int) -> dict[str, Any]:
        """What the service asks of itself for a trial."""
        definition = dict(self.request["TrainingJobDefinition"])
        static = definition.pop("StaticHyperParameters", {})
        definition.pop("DefinitionName", None)
        resources = definition.pop("HyperParameterTuningResourceConfig", None)
        if resources is not None:
            definition["ResourceConfig"] = resources
        hyperparameters = {**static, **drawn, OBJECTIVE_HYPERPARAMETER: self._objective["MetricName"]}
        return definition | {
            "TrainingJobName": f"{self.name}-{number:03}-{uuid.uuid4().hex[:8]}",
            "HyperParameters": hyperparameters,
            "Tags": [{"Key": key, "Value": value} for key, value in self.tags.items()],
        }

    def _is_good_enough(self) -> bool:
        target, best = self.config.get("TuningJobCompletionCriteria", {}).get("TargetObjectiveMetricValue"), self.best()
        if target is None or best is None or best.value is None:
            return False
        return best.value >= target if self._objective["Type"] == "Maximize" else best.value <= target

    def _is_hopeless(self) -> bool:
        """Whether no trial of the first ones has logged the metric."""
        ended = [trial for trial in self.trials if trial.job.has_ended.is_set()]
        return len(ended) >= NO_METRIC_TRIALS and all(trial.value is None for trial in self.trials)

    def _conclude(self) -> None:
        if self.stop_asked.is_set():
            self.end("Stopped")
        elif all(trial.job.status == "Failed" for trial in self.trials):
            self.end("Failed", ALL_FAILED)
        elif all(trial.value is None for trial in self.trials):
            self.end("Failed", NO_METRICS.format(len(self.trials)))
        else:
            self.end("Completed")

    def _counters(self) -> dict[str, dict[str, int]]:
        jobs = dict.fromkeys(("Completed", "InProgress", "RetryableError", "NonRetryableError", "Stopped"), 0)
        objectives = dict.fromkeys(("Succeeded", "Pending", "Failed"), 0)
        for trial in self.trials:
            jobs[_counter(trial.job)] += 1
            objectives[trial.objective_status] += 1
        return {"TrainingJobStatusCounters": jobs, "ObjectiveStatusCounters": objectives}


def _counter(job: TrainingJob) -> str:
    if job.status == "Failed":
        return "RetryableError" if job.failure == INTERNAL_ERROR else "NonRetryableError"
    return job.status if job.has_ended.is_set() else "InProgress"
