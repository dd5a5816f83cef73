"""SageMaker that loses replies, is busy, has no machines, fails jobs, or is slow with its logs."""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import boto3
import pytest
from aws.fake import FakeSageMaker
from aws.faults import FailJob, LateLogs, LostReply, NoCapacity, Refuse, SpotInterruption, StopJob
from unit.backends.sagemaker.conftest import job
from unit.backends.test_contract import PRELUDE, SETTINGS, Recorder

from mlpipe.backends import JobResult, follow_job
from mlpipe.backends.sagemaker import backend as module
from mlpipe.backends.sagemaker.backend import SagemakerBackend
from mlpipe.errors import CloudError, JobError
from mlpipe.settings import load_settings
from mlpipe.specs import Channel, JobKind, JobSpec
from mlpipe.storage.s3 import S3Storage

pytestmark = pytest.mark.faults

SPEC = job(channels=(Channel("train", "data/train"),), checkpoints=None)


class Cloud:
    """A fake whose jobs run a script, and a backend that talks to it."""

    def __init__(self, fake: FakeSageMaker, backend: SagemakerBackend, storage: S3Storage) -> None:
        self.fake, self.backend, self.storage = fake, backend, storage
        storage.write("data/train/rows", b"rows")

    def run(self, spec: JobSpec = SPEC) -> tuple[JobResult, Recorder]:
        recorder = Recorder()
        result = follow_job(self.backend, spec, self.backend.submit(spec), self.storage.locate(spec.log), recorder)
        assert self.fake.pending_faults == []
        return result, recorder


@pytest.fixture
def cloud(
    s3_endpoint: str, bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[..., Cloud]]:
    path = tmp_path / "settings.ini"
    path.write_text(SETTINGS.format(bucket=bucket))
    with ExitStack() as stack:

        def make(script: str = "print('done')", *overrides: str) -> Cloud:
            command = (sys.executable, "-u", "-c", PRELUDE + textwrap.dedent(script))
            fake = stack.enter_context(FakeSageMaker(s3_endpoint, tmp_path / "sagemaker", command, 5.0))
            monkeypatch.setenv("AWS_ENDPOINT_URL_SAGEMAKER", fake.url)
            settings = load_settings(path, overrides, environment={})
            storage = S3Storage(settings.experiment.storage)
            return Cloud(fake, SagemakerBackend(settings, storage, boto3.Session()), storage)

        yield make


@pytest.mark.parametrize("kind", [JobKind.TRAINING, JobKind.PROCESSING])
def test_a_job_whose_creation_was_not_answered_is_taken_for_our_own(cloud: Callable[..., Cloud], kind: JobKind):
    place = cloud()
    place.fake.script(LostReply("Create*"))
    spec = replace(SPEC, kind=kind, hyperparameters={})
    place.run(spec)
    asked = [request for request in place.fake.requests if request.operation.startswith("Create")]
    assert len(asked) == 2, "botocore asks again"
    assert asked[0].body == asked[1].body
    assert place.backend.find(spec), "and there is one job"


def test_a_job_of_somebody_else_with_our_name_is_not_taken(cloud: Callable[..., Cloud]):
    place = cloud()
    place.backend.submit(SPEC)
    other = replace(SPEC, attempt=f"other/{SPEC.attempt}")
    with pytest.raises(CloudError, match="cannot start mlpipe-demo-7-train-m-0123456789ab: ResourceInUse"):
        place.backend.submit(other)


def test_a_busy_service_is_waited_for(cloud: Callable[..., Cloud]):
    place = cloud("time.sleep(1); print('done')")
    place.fake.script(Refuse("DescribeTrainingJob", times=3))
    _, recorder = place.run()
    assert recorder.lines == ["done"]


def test_a_service_that_stays_busy_is_given_up_with_a_way_back(
    cloud: Callable[..., Cloud], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(module, "PATIENCE", 0.0)
    place = cloud()
    handle = place.backend.submit(SPEC)
    place.fake.script(Refuse("DescribeTrainingJob", times=3))
    with pytest.raises(CloudError, match="cannot look at mlpipe-demo-7-train-m-.*ThrottlingException") as caught:
        place.backend.describe(handle)
    assert "the same command again comes back to jobs that were started" in caught.value.hint


@pytest.mark.parametrize(
    ("code", "hint"),
    [
        ("AccessDeniedException", "allow CreateTrainingJob to the credentials"),
        ("ResourceLimitExceeded", "the account's quota is used up"),
        ("ExpiredTokenException", "log in again"),
    ],
)
def test_a_refused_creation_says_what_to_do_and_is_not_repeated(cloud: Callable[..., Cloud], code: str, hint: str):
    place = cloud()
    place.fake.script(Refuse("CreateTrainingJob", code=code, message="no"))
    with pytest.raises(CloudError, match=f"cannot start mlpipe-.*: {code}: no") as caught:
        place.backend.submit(SPEC)
    assert hint in caught.value.hint
    assert caught.value.exit_code == 4
    assert len(place.fake.bodies("CreateTrainingJob")) == 1


def test_the_reason_of_a_failed_job_and_the_end_of_its_log_are_told(cloud: Callable[..., Cloud]):
    place = cloud("print('first'); print('epoch 1'); time.sleep(60)")
    place.fake.script(FailJob(after_line="epoch 1"))
    with pytest.raises(JobError, match=r"job train-m: InternalServerError: We encountered an internal error") as caught:
        place.run()
    assert "its log ends:\n    first\n    epoch 1" in str(caught.value)
    assert place.storage.read(SPEC.log) == b"first\nepoch 1\n"


def test_a_job_that_somebody_stopped_has_failed(cloud: Callable[..., Cloud]):
    place = cloud("print('epoch 1'); time.sleep(60)")
    place.fake.script(StopJob(after_line="epoch 1"))
    with pytest.raises(JobError, match="job train-m: it was stopped"):
        place.run()


@pytest.mark.parametrize(
    ("overrides", "reason"),
    [((), "CapacityError"), (("sagemaker.spot=yes",), r"waited longer than \[SAGEMAKER\] MAX_WAIT")],
)
def test_a_job_without_a_machine_says_so(cloud: Callable[..., Cloud], overrides: tuple[str, ...], reason: str):
    place = cloud("pass", *overrides)
    place.fake.script(NoCapacity())
    with pytest.raises(JobError, match=reason):
        place.run(replace(SPEC, checkpoints="demo/runs/7/checkpoints/m"))


def test_a_job_beyond_its_time_is_told_about_the_limit(cloud: Callable[..., Cloud]):
    place = cloud("time.sleep(60)")
    with pytest.raises(JobError, match=r"ran longer than \[SAGEMAKER\] MAX_RUNTIME"):
        place.run(replace(SPEC, max_runtime_s=1))


def test_the_log_of_a_failed_job_is_waited_for(cloud: Callable[..., Cloud]):
    place = cloud("print('why'); raise SystemExit(1)")
    place.fake.script(LateLogs(seconds=2.0))
    with pytest.raises(JobError, match="its log ends:\n    why"):
        place.run()


def test_a_spot_interruption_is_one_job_with_a_second_attempt(cloud: Callable[..., Cloud]):
    script = """
    folder = base / "checkpoints"
    found = sorted(path.name for path in folder.iterdir())
    print("found", found)
    (folder / "step").write_text("1")
    if not found:
        print("epoch 1")
        time.sleep(60)
    """
    place = cloud(script, "sagemaker.spot=yes")
    place.fake.script(SpotInterruption(after_line="epoch 1"))
    result, recorder = place.run(replace(SPEC, checkpoints="demo/runs/7/checkpoints/m"))
    assert recorder.lines == ["found []", "epoch 1", "found ['step']"]
    assert result.machine["is_spot"]
    assert len(place.fake.bodies("CreateTrainingJob")) == 1
