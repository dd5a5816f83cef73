"""What every backend promises, tried on each: on this machine, and in SageMaker against a server that runs its jobs."""

from __future__ import annotations

import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import boto3
import pytest
from aws.fake import FakeSageMaker

from mlpipe.backends import Backend, JobResult, JobState, LocalBackend, follow_job
from mlpipe.backends.local.launcher import RunningJob, SubprocessLauncher
from mlpipe.backends.sagemaker.backend import SagemakerBackend
from mlpipe.errors import DataError, JobError, MlpipeError
from mlpipe.settings import load_settings
from mlpipe.specs import Channel, JobKind, JobSpec
from mlpipe.storage import LocalStorage, Storage
from mlpipe.storage.s3 import S3Storage

SETTINGS = """
[EXPERIMENT]
EXPERIMENT_NAME = demo
MODEL_NAMES = m
BACKEND = sagemaker
STORAGE = s3://{bucket}/team
[SAGEMAKER]
ROLE_ARN = arn:aws:iam::123456789012:role/mlpipe-jobs
DOCKER_IMAGE_PATH = registry.example.com/mlpipe:1
"""

PRELUDE = """
import json, os, pathlib, sys, time
base = pathlib.Path(os.environ["SAGEMAKER_BASE_DIR"])
is_training = sys.argv[1:] == ["train"]
inputs = base / ("input/data" if is_training else "processing/input")
output = base / ("model" if is_training else "processing/output/result")
failure = base / ("output/failure" if is_training else "output/message")
output.mkdir(parents=True, exist_ok=True)
failure.parent.mkdir(parents=True, exist_ok=True)
"""


class Recorder:
    """A JobListener that keeps what it is told."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.events: list[str] = []
        self.has_line = threading.Event()

    def started(self, spec: JobSpec, log: str) -> None:
        self.events.append("started")

    def line(self, spec: JobSpec, text: str) -> None:
        self.lines.append(text)
        self.has_line.set()

    def ended(self, spec: JobSpec, status: object, seconds: float) -> None:
        self.events.append("ended")


class Place:
    """A storage, and backends that run a script in place of mlpipe's jobs."""

    def __init__(self, storage: Storage, make: Callable[[str], Backend]) -> None:
        self.storage = storage
        self._make = make

    def backend(self, script: str) -> Backend:
        return self._make(PRELUDE + textwrap.dedent(script))

    def run(self, script: str, spec: JobSpec) -> tuple[JobResult, Recorder]:
        backend, recorder = self.backend(script), Recorder()
        result = follow_job(backend, spec, backend.submit(spec), self.storage.locate(spec.log), recorder)
        return result, recorder


class ScriptLauncher:
    """Starts a script in place of `python -m mlpipe.jobs`."""

    def __init__(self, script: str) -> None:
        self._script = script

    def launch(self, argv: Sequence[str], environment: Mapping[str, str], folder: Path, log: Path) -> RunningJob:
        command = [sys.executable, "-u", "-c", self._script, *argv[4:]]
        return SubprocessLauncher().launch(command, environment, folder, log)


@pytest.fixture(params=["local", "sagemaker"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    if request.param == "local":
        storage = LocalStorage(tmp_path / "storage")
        yield Place(storage, lambda script: LocalBackend(storage, tmp_path, launcher=ScriptLauncher(script)))
        return
    endpoint, bucket = request.getfixturevalue("s3_endpoint"), request.getfixturevalue("bucket")
    monkeypatch = request.getfixturevalue("monkeypatch")
    path = tmp_path / "settings.ini"
    path.write_text(SETTINGS.format(bucket=bucket))
    settings = load_settings(path, environment={})
    with ExitStack() as stack:

        def make(script: str) -> Backend:
            command = (sys.executable, "-u", "-c", script)
            fake = stack.enter_context(FakeSageMaker(endpoint, tmp_path / "sagemaker", command, 2.0))
            monkeypatch.setenv("AWS_ENDPOINT_URL_SAGEMAKER", fake.url)
            return SagemakerBackend(settings, S3Storage(settings.experiment.storage), boto3.Session())

        yield Place(S3Storage(settings.experiment.storage), make)


def spec(place: Place, kind: JobKind = JobKind.TRAINING, name: str = "train-m") -> JobSpec:
    """A job with one channel, which is stored."""
    place.storage.write("data/train/rows", b"rows")
    return JobSpec(
        name=name,
        kind=kind,
        step="train" if kind is JobKind.TRAINING else "infer",
        attempt=f"demo/runs/1/attempts/{name}-0123456789ab",
        channels=(Channel("train", "data/train"),),
        arguments={},
        hyperparameters={"epochs": 3, "note": "it's $(id)"} if kind is JobKind.TRAINING else {},
        threads=2,
        max_runtime_s=60,
        log=f"demo/runs/1/logs/{name}.log",
        run_num=1,
    )


@pytest.mark.parametrize("kind", [JobKind.TRAINING, JobKind.PROCESSING])
def test_what_a_job_makes_of_its_channels_is_found_where_its_result_says(place: Place, kind: JobKind):
    script = """
    (output / "made").write_text((inputs / "train" / "rows").read_text() + os.environ["OMP_NUM_THREADS"])
    """
    result, recorder = place.run(script, spec(place, kind))
    assert place.storage.read(f"{result.output}/made") == b"rows2"
    assert (result.name, result.threads) == ("train-m", 2)
    assert result.output.startswith(result.attempt)
    assert recorder.events == ["started", "ended"]
    assert result.machine


def test_hyperparameters_arrive_as_text(place: Place):
    script = """
    (output / "made").write_text((base / "input/config/hyperparameters.json").read_text())
    """
    result, _ = place.run(script, spec(place))
    assert b'"it\'s $(id)"' in place.storage.read(f"{result.output}/made")
    assert b'"epochs": "3"' in place.storage.read(f"{result.output}/made").replace(b'":"', b'": "')


@pytest.mark.parametrize("kind", [JobKind.TRAINING, JobKind.PROCESSING])
def test_every_line_reaches_the_listener_and_the_log(place: Place, kind: JobKind):
    job = spec(place, kind)
    _, recorder = place.run("print('one'); print('umlaut ü')", job)
    assert recorder.lines == ["one", "umlaut ü"]
    assert place.storage.read(job.log).decode().splitlines() == recorder.lines


@pytest.mark.parametrize("kind", [JobKind.TRAINING, JobKind.PROCESSING])
def test_the_error_that_a_job_reports_is_raised_with_its_class_hint_and_log(place: Place, kind: JobKind):
    job = spec(place, kind)
    script = r"""
    failure.write_text("DataError: row 7 has no label\n  give it one\n\nTraceback ...")
    raise SystemExit(3)
    """
    with pytest.raises(DataError) as caught:
        place.run(script, job)
    assert caught.value.message == "job train-m: row 7 has no label"
    assert caught.value.hint == f"give it one\n  log: {place.storage.locate(job.log)}"


def test_a_job_that_leaves_no_reason_is_an_error_that_names_its_log(place: Place):
    job = spec(place)
    with pytest.raises(JobError, match=r"job train-m: .*[\s\S]*demo/runs/1/logs/train-m\.log"):
        place.run("print('last words'); raise SystemExit(7)", job)
    assert place.storage.read(job.log) == b"last words\n"


def test_a_training_finds_what_an_earlier_attempt_left_among_its_checkpoints(place: Place):
    script = """
    folder = base / "checkpoints"
    folder.mkdir(exist_ok=True)
    print("found", sorted(path.name for path in folder.iterdir()))
    (folder / "step-1").mkdir(exist_ok=True)
    (folder / "step-1" / "state").write_text("1")
    """
    job = replace(spec(place), checkpoints="demo/runs/1/checkpoints/m")
    assert place.run(script, job)[1].lines == ["found []"]
    again = replace(job, attempt="demo/runs/1/attempts/train-m-ba9876543210", log="demo/runs/1/logs/b.log")
    assert place.run(script, again)[1].lines == ["found ['step-1']"]
    assert place.storage.files("demo/runs/1/checkpoints/m") == {"step-1/state": 1}


def test_what_a_training_leaves_beside_its_model_is_kept_where_the_job_was_told(place: Place):
    script = """
    (output / "model").write_text("weights")
    (base / "output" / "data").mkdir(parents=True, exist_ok=True)
    (base / "output" / "data" / "events").write_text("of this attempt")
    """
    result, _ = place.run(script, replace(spec(place), output_data="demo/runs/1/logs/output_data/m"))
    assert place.storage.read("demo/runs/1/logs/output_data/m/events") == b"of this attempt"
    assert list(place.storage.files(result.output)) == ["model"]


@pytest.mark.parametrize("kind", [JobKind.TRAINING, JobKind.PROCESSING])
def test_a_job_that_is_stopped_has_ended_and_failed(place: Place, kind: JobKind):
    backend = place.backend("print('here'); time.sleep(600)")
    job = spec(place, kind)
    handle = backend.submit(job)
    while not backend.logs(handle, "")[0]:
        assert backend.describe(handle).state is JobState.IN_PROGRESS
    assert backend.is_running(handle)
    backend.stop(handle)
    assert not backend.is_running(handle)
    assert backend.describe(handle).state is JobState.FAILED


def test_logs_are_read_on_from_a_position(place: Place):
    backend = place.backend("print('one'); print('two')")
    job = spec(place)
    handle = backend.submit(job)
    while not backend.describe(handle).has_ended:
        time.sleep(0.02)
    lines, position = backend.logs(handle, "")
    assert lines == ["one", "two"]
    assert backend.logs(handle, position)[0] == []


def test_no_job_is_started_once_all_were_left(place: Place):
    backend = place.backend("(output / 'made').write_text('x')")
    assert backend.leave_all()
    job = spec(place)
    with pytest.raises(MlpipeError, match="was not started any more"):
        follow_job(backend, job, backend.submit(job), job.log, Recorder())


def test_the_handle_is_known_before_the_job(place: Place):
    backend, job = place.backend("pass"), spec(place)
    assert backend.handle_of(job) == backend.submit(job)
    while not backend.describe(backend.handle_of(job)).has_ended:
        time.sleep(0.02)
