"""What SageMaker says of a job, as a status."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import botocore.session
import pytest

from mlpipe.backends import JobState
from mlpipe.backends.sagemaker.states import STATES, processing_status, training_status

START = datetime(2026, 1, 1, tzinfo=UTC)
PROCESSING = {
    "ProcessingJobName": "n",
    "ProcessingJobStatus": "Completed",
    "ProcessingResources": {"ClusterConfig": {"InstanceType": "ml.m5.large", "InstanceCount": 1}},
    "AppSpecification": {"ImageUri": "image:1"},
    "CreationTime": START,
}


def described(status: str, **more: Any) -> dict[str, Any]:
    return {
        "TrainingJobName": "n",
        "TrainingJobStatus": status,
        "ResourceConfig": {"InstanceType": "ml.m5.xlarge", "InstanceCount": 2},
        "AlgorithmSpecification": {"TrainingImage": "image:1"},
        "CreationTime": START,
        **more,
    }


@pytest.mark.parametrize("shape", ["TrainingJobStatus", "ProcessingJobStatus"])
def test_every_status_of_the_service_is_known(shape: str):
    model = botocore.session.Session().get_service_model("sagemaker")
    assert set(model.shape_for(shape).enum) - {"Deleting"} <= set(STATES)


def test_a_completed_training_says_where_it_ran_and_what_is_billed():
    status = training_status(
        described(
            "Completed",
            TrainingEndTime=START + timedelta(seconds=90),
            BillableTimeInSeconds=40,
            EnableManagedSpotTraining=True,
        ),
        "the/model",
    )
    assert (status.state, status.output, status.seconds) == (JobState.COMPLETED, "the/model", 90.0)
    assert status.machine["instance_count"] == 2
    assert status.machine["billable_seconds"] == 40
    assert status.machine["is_spot"]


def test_what_is_billed_is_not_told_where_the_service_does_not_say_it():
    unknown = training_status(described("Completed"), "the/model")
    assert not {"billable_seconds", "training_seconds"} & set(unknown.machine)
    free = training_status(described("Completed", BillableTimeInSeconds=0), "the/model")
    assert free.machine["billable_seconds"] == 0
    processed = processing_status(PROCESSING, "out")
    assert "billable_seconds" not in processed.machine


@pytest.mark.parametrize("status", ["Failed", "Stopped"])
def test_a_job_that_ended_without_having_started_is_billed_for_no_time(status: str):
    assert training_status(described(status), "").machine["billable_seconds"] == 0
    never = PROCESSING | {"ProcessingJobStatus": status, "ProcessingEndTime": START}
    assert processing_status(never, "").machine["billable_seconds"] == 0


def test_what_a_job_that_started_and_failed_is_billed_for_is_not_guessed():
    assert "billable_seconds" not in training_status(described("Failed", TrainingStartTime=START), "").machine
    begun = PROCESSING | {"ProcessingJobStatus": "Failed", "ProcessingStartTime": START}
    assert "billable_seconds" not in processing_status(begun, "").machine


@pytest.mark.parametrize(
    ("more", "failure"),
    [
        (
            {"FailureReason": "AlgorithmError: DataError: row 7\n  a hint, exit code: 3"},
            "DataError: row 7\n  a hint",
        ),
        (
            {"FailureReason": "AlgorithmError: a text of somebody's, exit code: 1"},
            "JobError: AlgorithmError: a text of somebody's, exit code: 1",
        ),
        (
            {"FailureReason": "CapacityError: Unable to provision"},
            "JobError: CapacityError: Unable to provision\n  no machine of this type is free",
        ),
        ({}, "JobError: the service gives no reason"),
    ],
)
def test_the_reason_of_a_failure_is_the_jobs_own_where_it_gave_one(more: dict[str, Any], failure: str):
    assert training_status(described("Failed", **more), "").failure.startswith(failure)


@pytest.mark.parametrize(
    ("secondary", "failure"),
    [
        ("MaxRuntimeExceeded", "longer than [SAGEMAKER] MAX_RUNTIME"),
        ("MaxWaitTimeExceeded", "longer than [SAGEMAKER] MAX_WAIT"),
        ("Stopped", "it was stopped"),
    ],
)
def test_a_stopped_training_has_failed(secondary: str, failure: str):
    status = training_status(described("Stopped", SecondaryStatus=secondary), "")
    assert status.state is JobState.FAILED
    assert failure in status.failure


def test_a_processing_jobs_own_message_comes_first():
    job = PROCESSING | {
        "ProcessingJobStatus": "Failed",
        "ProcessingStartTime": START,
        "ProcessingEndTime": START + timedelta(seconds=30),
        "ExitMessage": "DataError: nothing to see",
        "FailureReason": "AlgorithmError: See job logs for more information",
    }
    status = processing_status(job, "out")
    assert status.failure == "DataError: nothing to see"
    assert status.machine["billable_seconds"] == 30
