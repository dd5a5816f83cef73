"""The trials of a tuning job, as the service lists them and as their logs tell of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mlpipe.specs import TrialRecord, TrialState, TuningSpec
from mlpipe.tuning.objective import ObjectivePattern

STATES = {
    "Completed": TrialState.COMPLETED,
    "Stopped": TrialState.STOPPED,
    "Failed": TrialState.FAILED,
}


def list_trials(client: Any, name: str) -> list[Mapping[str, Any]]:
    """The summaries of all trials of a tuning job, in the order in which they were created."""
    pages = client.get_paginator("list_training_jobs_for_hyper_parameter_tuning_job").paginate(
        HyperParameterTuningJobName=name
    )
    summaries = [summary for page in pages for summary in page["TrainingJobSummaries"]]
    return sorted(summaries, key=lambda summary: (summary["CreationTime"], summary["TrainingJobName"]))


def has_ended(summary: Mapping[str, Any]) -> bool:
    """Whether a trial has ended."""
    return summary["TrainingJobStatus"] in STATES


def record_of(
    number: int,
    summary: Mapping[str, Any],
    lines: list[str],
    tuning: TuningSpec,
    *,
    output: str = "",
    machine: Mapping[str, Any] | None = None,
) -> TrialRecord:
    """A trial that has ended; `lines` are its log, `output` is the storage key of its model."""
    pattern = ObjectivePattern(tuning.regex, tuning.objective)
    values = (pattern.value_in(line) for line in lines)
    curve = tuple(value for value in values if value is not None)
    state = STATES[summary["TrainingJobStatus"]]
    ended, started = summary.get("TrainingEndTime"), summary.get("TrainingStartTime")
    error = summary.get("FailureReason", "")
    if state is TrialState.COMPLETED and not curve:
        state, error = TrialState.FAILED, "METRIC_REGEX found no objective in its log"
    given = summary["TunedHyperParameters"]
    return TrialRecord(
        number=number,
        name=summary["TrainingJobName"],
        state=state,
        hyperparameters={name: given[name] for name in tuning.space},
        curve=curve,
        seconds=(ended - started).total_seconds() if ended and started else 0.0,
        error=error,
        output=output if state is TrialState.COMPLETED else "",
        machine=machine or {},
    )
