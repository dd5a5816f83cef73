"""Scripted faults of the fake, as a client sees them."""

from __future__ import annotations

import json

import boto3
import pytest
from aws.account import Account
from aws.conftest import MakeAccount
from aws.faults import FailJob, LateLogs, LostReply, NoCapacity, Refuse, SpotInterruption, StopJob
from aws.logs import GROUPS
from aws.requests import processing_request, spot_request, training_request, tuning_request
from botocore.config import Config
from botocore.exceptions import ClientError, ConnectionClosedError

SLOW = "print('epoch 1', flush=True); time.sleep(60)"


def impatient_client(account: Account):
    """A client that tries once."""
    config = Config(retries={"mode": "standard", "total_max_attempts": 1})
    return boto3.client("sagemaker", endpoint_url=account.fake.url, config=config)


def test_a_job_fails_at_the_line_that_the_script_names(make_account: MakeAccount):
    account = make_account(SLOW)
    account.fake.script(FailJob("job", after_line="epoch 1"))
    done = account.train(training_request(account.bucket))
    assert done["TrainingJobStatus"] == "Failed"
    assert done["FailureReason"].startswith("InternalServerError")
    assert account.fake.pending_faults == []
    assert account.objects("out/") == {}


def test_a_fault_happens_once_and_only_to_the_job_that_it_names(make_account: MakeAccount):
    account = make_account("pass")
    account.fake.script(FailJob("other*", reason="ClientError: none"))
    assert account.train(training_request(account.bucket))["TrainingJobStatus"] == "Completed"
    failed = account.process(processing_request(account.bucket, "other-1"))
    assert failed["FailureReason"] == "ClientError: none"
    assert account.process(processing_request(account.bucket, "other-2"))["ProcessingJobStatus"] == "Completed"


def test_an_internal_error_is_tried_again_where_the_request_asks_for_it(make_account: MakeAccount):
    account = make_account("pass")
    account.fake.script(FailJob())
    done = account.train(training_request(account.bucket, RetryStrategy={"MaximumRetryAttempts": 1}))
    assert done["TrainingJobStatus"] == "Completed"
    assert "Restarting" in [transition["Status"] for transition in done["SecondaryStatusTransitions"]]


@pytest.mark.parametrize("kind", ["Training", "Processing"])
def test_somebody_else_stops_a_job(make_account: MakeAccount, kind: str):
    account = make_account(SLOW)
    account.fake.script(StopJob(after_line="epoch 1"))
    is_training = kind == "Training"
    request = training_request(account.bucket) if is_training else processing_request(account.bucket)
    done = account.train(request) if is_training else account.process(request)
    assert done[f"{kind}JobStatus"] == "Stopped"


CHECKPOINTED = """
folder = base / "checkpoints"
before = sorted(path.name for path in folder.iterdir())
def stop(*_):
    (folder / "at_the_signal").write_text("2")
    sys.exit(1)
signal.signal(signal.SIGTERM, stop)
if not before:
    (folder / "written").write_text("1")
    print("epoch 1", flush=True)
    time.sleep(60)
(base / "model" / "before.json").write_text(json.dumps(before))
"""


@pytest.mark.parametrize(("flush", "found"), [(True, ["at_the_signal", "written"]), (False, ["written"])])
def test_an_interrupted_spot_job_goes_on_from_its_checkpoints(make_account: MakeAccount, flush: bool, found: list[str]):
    account = make_account(CHECKPOINTED)
    account.fake.script(SpotInterruption(after_line="epoch 1", flush=flush))
    done = account.train(spot_request(account.bucket))
    assert done["TrainingJobStatus"] == "Completed", done
    statuses = [transition["Status"] for transition in done["SecondaryStatusTransitions"]]
    once = ["Starting", "Downloading", "Training"]
    assert statuses == [*once, "Interrupted", *once, "Uploading", "Completed"]
    assert json.loads(account.objects("out/job/output/model/")["before.json"]) == found
    assert len(account.log("job")) == 2, "a stream for each attempt"


def test_only_spot_jobs_are_interrupted(make_account: MakeAccount):
    account = make_account("pass")
    account.fake.script(SpotInterruption())
    assert account.train(training_request(account.bucket))["TrainingJobStatus"] == "Completed"
    assert account.fake.pending_faults == [SpotInterruption()]


def test_without_capacity_a_job_fails_and_a_spot_training_ends_its_wait(make_account: MakeAccount):
    account = make_account("pass")
    account.fake.script(NoCapacity(times=3))
    assert account.train(training_request(account.bucket, "a"))["FailureReason"].startswith("CapacityError")
    assert account.process(processing_request(account.bucket))["FailureReason"].startswith("CapacityError")
    spot = account.train(spot_request(account.bucket, "b"))
    assert (spot["TrainingJobStatus"], spot["SecondaryStatus"]) == ("Stopped", "MaxWaitTimeExceeded")
    assert "BillableTimeInSeconds" not in spot


def test_a_throttled_call_is_refused_as_often_as_scripted(make_account: MakeAccount):
    account = make_account("pass")
    client = impatient_client(account)
    account.train(training_request(account.bucket))
    account.fake.script(Refuse("Describe*", times=2))
    for _ in range(2):
        with pytest.raises(ClientError) as refused:
            client.describe_training_job(TrainingJobName="job")
        assert refused.value.response["Error"]["Code"] == "ThrottlingException"
    assert client.describe_training_job(TrainingJobName="job")["TrainingJobStatus"] == "Completed"


def test_a_quota_refuses_a_job_before_it_is_made(make_account: MakeAccount):
    account = make_account("pass")
    account.fake.script(Refuse("CreateTrainingJob", "ResourceLimitExceeded", "0 instances of ml.p4d.24xlarge"))
    request = training_request(account.bucket)
    with pytest.raises(account.sagemaker.exceptions.ResourceLimitExceeded, match="0 instances"):
        account.sagemaker.create_training_job(**request)
    assert account.train(request)["TrainingJobStatus"] == "Completed"


def test_a_lost_reply_leaves_the_job_and_the_next_try_finds_its_name_taken(make_account: MakeAccount):
    account = make_account("pass")
    account.fake.script(LostReply("CreateTrainingJob"))
    with pytest.raises(ConnectionClosedError):
        impatient_client(account).create_training_job(**training_request(account.bucket))
    assert account.ended("Training", "job")["TrainingJobStatus"] == "Completed"
    account.fake.script(LostReply("CreateTrainingJob"))
    with pytest.raises(account.sagemaker.exceptions.ResourceInUse):  # a client that tries again by itself
        account.sagemaker.create_training_job(**training_request(account.bucket, "other"))
    assert [body["TrainingJobName"] for body in account.fake.bodies("CreateTrainingJob")] == ["job", "other", "other"]


def test_logs_come_after_the_end_of_a_job_where_they_are_late(make_account: MakeAccount):
    account = make_account("print('one line')")
    account.fake.script(LateLogs(seconds=0.3))
    done = account.train(training_request(account.bucket))
    account.wait_for_line("job", "one line")
    (stream,) = account.log("job")
    (event,) = account.logs.get_log_events(logGroupName=GROUPS["Training"], logStreamName=stream)["events"]
    assert event["ingestionTime"] >= int(done["TrainingEndTime"].timestamp() * 1000)
    assert event["ingestionTime"] - event["timestamp"] >= 300


def test_a_fault_reaches_one_trial_of_a_tuning_job(make_account: MakeAccount):
    account = make_account("print('score=0.5')")
    account.fake.script(FailJob("tune-002-*"))
    done = account.tune(tuning_request(account.bucket))
    assert done["HyperParameterTuningJobStatus"] == "Completed"
    assert done["TrainingJobStatusCounters"] == {
        "Completed": 2,
        "InProgress": 0,
        "RetryableError": 1,
        "NonRetryableError": 0,
        "Stopped": 0,
    }
