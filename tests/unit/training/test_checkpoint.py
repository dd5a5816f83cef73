"""Checkpoints: a training that was interrupted ends with the bits of one that was not."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import resource
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from mlpipe.errors import JobStopped, StorageError, UserFunctionError
from mlpipe.training.job import TrainingJob
from mlpipe.training.loop import TrainedModel, fit, start_accelerator

INTERRUPTIBLE = """
import os, random, signal
from pathlib import Path
import numpy as np

calls = 0

def interrupt():
    global calls
    calls += 1
    order = Path(__file__).with_name("interrupt")
    if order.exists() and order.read_text() == f"SIGTERM {calls}":
        os.kill(os.getpid(), signal.SIGTERM)
    if order.exists() and order.read_text() == f"fail {calls}":
        raise RuntimeError("as ordered")
"""

MODEL = (
    INTERRUPTIBLE
    + """
class Model(nn.Module):
    def __init__(self, labels):
        super().__init__()
        self.embedding = nn.Embedding(20, 8)
        self.norm = nn.BatchNorm1d(8)
        self.dropout = nn.Dropout(0.2)
        self.output = nn.Linear(8, labels)
        self.register_buffer("noise", torch.ones(()), persistent=False)

    def forward(self, input_ids, attention_mask):
        mask = attention_mask.unsqueeze(-1).float()
        mean = self.norm((self.embedding(input_ids) * mask).sum(1) / mask.sum(1))
        if self.training:
            interrupt()
            self.noise = self.noise * 0.98
            mean = self.dropout(mean) + self.noise * (np.random.rand() + random.random())
        return self.output(mean)
"""
)
"""Draws from every generator, and keeps state in buffers that are saved and one that is not."""

SCRIPTED = (
    INTERRUPTIBLE
    + """
class Model(nn.Module):
    def __init__(self, labels):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(labels))
        self.register_buffer("epoch", torch.zeros((), dtype=torch.int64))

    def forward(self, input_ids, attention_mask):
        if self.training:
            interrupt()
            return self.weight.expand(len(input_ids), 3)
        answer = torch.zeros(len(input_ids), 3)
        answer[[3, 8, 5, 4, 9][self.epoch]:, 1] = 1
        self.epoch += 1
        return answer
"""
)
"""In evaluation it gets 3, 8, 5, 4 and 9 of ten rows with label 0 right, epoch after epoch."""

SETTINGS = """
[HYPERPARAMETERS]
EPOCHS = {epochs}
BATCH_SIZE = 8
LEARNING_RATE = {learning_rate}
[TRAINING]
METRICS = f1
CHECKPOINT_MINUTES = {minutes}
EARLY_STOPPING_PATIENCE = {patience}
"""
EVERY_STEP = "1e-9"


def settings_of(*, epochs=3, learning_rate="0.02", minutes=EVERY_STEP, patience=0) -> str:
    return SETTINGS.format(epochs=epochs, learning_rate=learning_rate, minutes=minutes, patience=patience)


def train(job: TrainingJob) -> TrainedModel:
    return fit(job, start_accelerator(job))


def stop_after(job: TrainingJob, step: int) -> None:
    """Train until SIGTERM arrives in this step, the first being 1; there are 12 in an epoch."""
    order = job.functions.code / "interrupt"
    order.write_text(f"SIGTERM {step}")
    with pytest.raises(JobStopped, match="the next attempt goes on from it"):
        train(job)
    order.unlink()


def names(job: TrainingJob) -> list[str]:
    return sorted(path.name for path in job.checkpoints.iterdir())


def assert_equal(found: TrainedModel, expected: TrainedModel) -> None:
    state, other = found.classifier.module.state_dict(), expected.classifier.module.state_dict()
    assert state.keys() == other.keys()
    assert all(torch.equal(state[name], other[name]) for name in state)
    assert found.history.records == expected.history.records
    assert [timing.epoch for timing in found.history.timings] == [timing.epoch for timing in expected.history.timings]


@pytest.fixture
def in_peace(make_job) -> TrainedModel:
    """What the training comes to when nothing happens to it."""
    return train(make_job(MODEL, settings=settings_of(), name="peace"))


@pytest.fixture
def log(caplog) -> Callable[[], list[str]]:
    caplog.set_level(logging.INFO)
    return lambda: caplog.messages


@pytest.mark.parametrize(
    ("step", "where"),
    [
        (1, "at step 1: in epoch 1, after 1 of its 12 steps"),
        (11, "at step 11: in epoch 1, after 11 of its 12 steps"),
        (12, "at step 12: after epoch 1"),
        (17, "at step 17: in epoch 2, after 5 of its 12 steps"),
        (36, "at step 36: after epoch 3"),
    ],
)
@pytest.mark.parametrize("minutes", ["0", EVERY_STEP])
def test_a_training_that_was_stopped_goes_on_where_it_was(make_job, in_peace, log, minutes, step, where) -> None:
    job = make_job(MODEL, settings=settings_of(minutes=minutes))
    stop_after(job, step)
    # As many more steps as are left, and not one that was done before.
    (job.functions.code / "interrupt").write_text("fail 37")
    assert_equal(train(job), in_peace)
    assert f"resumed from the checkpoint {where}" in log()


def test_early_stopping_and_the_best_epoch_count_what_was_before(make_job, log) -> None:
    row = {"label": 0, "input_ids": [1, 2], "attention_mask": [1, 1]}
    rows = [{"id": str(number), **row} for number in range(10)]
    job = make_job(SCRIPTED, settings=settings_of(epochs=5, patience=2), validation=rows)
    stop_after(job, 30)
    trained = train(job)
    assert [record.epoch for record in trained.history.records] == [1, 2, 3, 4]
    assert trained.history.best.epoch == trained.classifier.module.epoch == 2
    stopped = "stopped early: no better f1 for 2 epochs"
    assert log().count(stopped) == 1
    again = train(job)
    assert again.history.records == trained.history.records
    assert log().count(stopped) == 2


def damage(path: Path, how: str) -> None:
    content = path.read_bytes()
    match how:
        case "removed":
            path.unlink()
        case "cut off":
            path.write_bytes(content[: len(content) // 2])
        case "empty":
            path.write_bytes(b"")
        case "of nothing":
            path.write_bytes(b'{"files": {}}')
        case "one bit":
            middle = len(content) // 2
            path.write_bytes(content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :])


@pytest.mark.parametrize(
    ("file", "how"),
    [
        *(("state.pt", how) for how in ("removed", "cut off", "one bit")),
        *(("manifest.json", how) for how in ("removed", "cut off", "empty", "of nothing", "one bit")),
        ("fingerprint.json", "one bit"),
    ],
)
def test_a_damaged_checkpoint_is_passed_over_and_the_one_before_is_used(make_job, in_peace, log, file, how) -> None:
    job = make_job(MODEL, settings=settings_of())
    stop_after(job, 20)
    damage(job.checkpoints / "step-0000000020" / file, how)
    assert_equal(train(job), in_peace)
    (warning,) = [message for message in log() if "passed over" in message]
    assert warning.startswith("checkpoint step-0000000020 is passed over: ")
    # A bit of the manifest may be one of a hash that it holds: then the file that this is the hash of differs.
    is_of_a_hash = (file, how) == ("manifest.json", "one bit")
    assert any(name in warning for name in (file, *(("state.pt", "fingerprint.json") if is_of_a_hash else ())))
    assert "resumed from the checkpoint at step 19: in epoch 2, after 7 of its 12 steps" in log()


def test_without_a_sound_checkpoint_training_starts_anew(make_job, in_peace, log) -> None:
    job = make_job(MODEL, settings=settings_of())
    stop_after(job, 20)
    for path in job.checkpoints.glob("*/state.pt"):
        damage(path, "cut off")
    assert_equal(train(job), in_peace)
    assert len([message for message in log() if "passed over" in message]) == 2
    assert not [message for message in log() if "resumed" in message]


def test_the_two_newest_are_kept_and_what_a_crash_left_is_removed(make_job) -> None:
    job = make_job(MODEL, settings=settings_of())
    (job.checkpoints / ".aside").mkdir(parents=True)
    (job.checkpoints / ".aside" / "state.pt").write_bytes(b"half")
    stop_after(job, 20)
    assert names(job) == ["step-0000000019", "step-0000000020"]
    damage(job.checkpoints / "step-0000000020" / "state.pt", "cut off")
    stop_after(job, 21)  # The first step of this attempt is step 20 of the training.
    assert names(job) == ["step-0000000019", "step-0000000020"]
    train(job)
    assert names(job) == ["step-0000000035", "step-0000000036"]


@pytest.mark.parametrize(
    ("minutes", "expected"), [("0", ["step-0000000012"]), (EVERY_STEP, ["step-0000000016", "step-0000000017"])]
)
def test_checkpoints_are_written_after_epochs_and_when_the_time_has_come(make_job, minutes, expected) -> None:
    job = make_job(MODEL, settings=settings_of(minutes=minutes))
    (job.functions.code / "interrupt").write_text("fail 18")
    with pytest.raises(UserFunctionError, match="as ordered"):
        train(job)
    assert names(job) == expected


def test_a_checkpoint_of_another_training_is_not_used(make_job, log) -> None:
    job = make_job(MODEL, settings=settings_of())
    stop_after(job, 20)
    other = make_job(MODEL, settings=settings_of(learning_rate="0.03"), name="other")
    expected = train(other)
    assert_equal(train(replace(other, checkpoints=job.checkpoints)), expected)
    warnings = [message for message in log() if "passed over" in message]
    assert warnings == [
        f"checkpoint step-00000000{step} is passed over: it belongs to another training, with other hyperparameters"
        for step in (20, 19)
    ]


def test_a_checkpoint_of_other_rows_is_not_used(make_job, log) -> None:
    job = make_job(MODEL, settings=settings_of())
    stop_after(job, 20)
    train(replace(job, channels_sha256="of other rows"))
    assert "checkpoint step-0000000020 is passed over: it belongs to another training, with other channels" in log()


def test_other_threads_and_another_interval_do_not_make_another_training(make_job, log) -> None:
    stopped = make_job(MODEL, settings=settings_of())
    stop_after(stopped, 20)
    other = make_job(MODEL, settings=settings_of(minutes="0") + "THREADS = 1\n", name="other")
    train(replace(other, checkpoints=stopped.checkpoints))
    assert "resumed from the checkpoint at step 20: in epoch 2, after 8 of its 12 steps" in log()


@contextlib.contextmanager
def small_disk() -> Iterator[None]:
    """No file can grow beyond 8 KiB, as if the disk were full."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (8192, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_checkpoint_that_cannot_be_written_is_an_error_that_names_it(make_job) -> None:
    job = make_job(MODEL, settings=settings_of(minutes="0"))
    stop_after(job, 3)
    with small_disk(), pytest.raises(StorageError, match=r"cannot write checkpoint .*step-0000000012: ") as caught:
        train(job)
    assert "look at the disk" in caught.value.hint
    assert names(job) == ["step-0000000003"]


def assert_ends_as_in_peace(job: TrainingJob, folder: Path, count: int, last_step: int) -> None:
    """Interrupt the job at `count` random moments by each signal; it has to publish what it would have in peace."""
    script = Path(__file__).with_name("interruptions.py")
    command = [sys.executable, str(script), str(folder), str(count), str(last_step), "SIGKILL", "SIGTERM"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "HF_HOME": str(folder / "hf")}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    codes = json.loads(done.stdout)
    assert codes["peace"] == [0]
    assert codes["SIGKILL"] == [-9] * count + [0]
    # 1: JobError; 3: a user function was still running; -15: not even the entrypoint was.
    assert codes["SIGTERM"][-1] == 0
    assert set(codes["SIGTERM"][:-1]) <= {1, 3, -15}
    failures = [path.read_text() for path in folder.glob("SIGTERM/*/output/failure")]
    stopped = "the job was stopped before it had done its work\n  a checkpoint was written at step"
    assert any(failure.startswith("JobError: ") and stopped in failure for failure in failures)
    for name in ("SIGKILL", "SIGTERM"):
        assert "resumed from the checkpoint at step" in (folder / name / str(count) / "log").read_text()
        for file in ("state_dict.safetensors", "history.jsonl", "metrics.json"):
            expected = (folder / "peace" / "0" / "model" / file).read_bytes()
            assert (folder / name / str(count) / "model" / file).read_bytes() == expected, file


def test_a_job_that_is_ended_at_twenty_random_moments_publishes_what_it_would_have_in_peace(
    make_job, base_folder, tmp_path
) -> None:
    job = make_job(MODEL, settings=settings_of(epochs=12))
    assert_ends_as_in_peace(job, base_folder(job, tmp_path / "base"), 20, 140)


@pytest.mark.parametrize("count", [1, pytest.param(20, marks=pytest.mark.slow)])
def test_a_job_of_two_processes_that_is_ended_publishes_what_it_would_have_in_peace(
    make_job, base_folder, tmp_path, count
) -> None:
    settings = settings_of(epochs=12) + "USE_DISTRIBUTED = yes\nPROCESSES = 2\n"
    job = make_job(MODEL, settings=settings)
    assert_ends_as_in_peace(job, base_folder(job, tmp_path / "base"), count, 140)
