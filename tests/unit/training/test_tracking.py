"""Tracking: what a tracker holds afterwards, and that one that fails or hangs is a warning and nothing else."""

from __future__ import annotations

import json
import logging
import os
import random
import shutil
import subprocess
import sys
import threading
import uuid
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pytest
import torch
from accelerate.state import AcceleratorState
from accelerate.tracking import GeneralTracker

from mlpipe.errors import JobStopped
from mlpipe.training.job import TrainingJob
from mlpipe.training.loop import fit, start_accelerator, train_model
from mlpipe.training.trackers import TrackedRun, Tracker, tracker_of
from mlpipe.training.tracking import reporting

MODEL = """
import os, signal
from pathlib import Path

class Model(nn.Module):
    def __init__(self, labels):
        super().__init__()
        self.embedding = nn.Embedding(20, 8)
        self.output = nn.Linear(8, labels)
        self.steps = 0

    def forward(self, input_ids, attention_mask):
        self.steps += self.training
        order = Path(__file__).with_name("stop after")
        if order.exists() and self.steps == int(order.read_text()):
            os.kill(os.getpid(), signal.SIGTERM)
        mask = attention_mask.unsqueeze(-1).float()
        return self.output((self.embedding(input_ids) * mask).sum(1) / mask.sum(1))
"""

SETTINGS = """
[HYPERPARAMETERS]
EPOCHS = {epochs}
LEARNING_RATE = 0.02
FREEZE = output.bias, *.bias
[USER_HYPERPARAMETERS]
WIDTH = 8
[USER]
PASSWORD = of-the-user-section
[TRAINING]
METRICS = f1, accuracy
[TRACKING]
PROJECT = tried
"""

CANARY = "canary-of-the-environment"
KEY = "0123456789abcdef0123456789abcdef01234567"
VARIABLES = (
    *("WANDB_DATA_DIR", "WANDB_CACHE_DIR", "WANDB_SILENT", "WANDB_ERROR_REPORTING"),
    *("MLFLOW_ALLOW_FILE_STORE", "MLFLOW_DISABLE_TELEMETRY", "MLFLOW_HTTP_REQUEST_BACKOFF_JITTER", "WANDB_SERVICE"),
)


def settings_of(*tracking: str, epochs: int = 3) -> str:
    return SETTINGS.format(epochs=epochs) + "\n".join(tracking) + "\n"


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """The environment of a job: what a tracker's package sets there ends with it, and there are secrets in it."""
    for name in VARIABLES:
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", CANARY)
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    monkeypatch.setenv("MPLCONFIGDIR", matplotlib.get_cachedir())  # has the list of fonts, which takes seconds to make
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    excepthook, exit_function = sys.excepthook, sys.exit
    yield
    sys.excepthook, sys.exit = excepthook, exit_function


@pytest.fixture
def warnings(caplog) -> Callable[[], list[str]]:
    caplog.set_level(logging.INFO)
    return lambda: [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]


def train(job: TrainingJob) -> None:
    """One job, as the first in its process."""
    AcceleratorState._reset_state(reset_partial_state=True)
    job.output.mkdir(exist_ok=True)
    train_model(job)


def train_in_two_attempts(job: TrainingJob) -> None:
    """Stop a training in its second epoch, and let another attempt end it."""
    order = job.functions.code / "stop after"
    order.write_text("4")  # an epoch has three steps
    with pytest.raises(JobStopped):
        train(job)
    order.unlink()
    train(job)


def history_of(job: TrainingJob) -> list[dict[str, float]]:
    return [json.loads(line) for line in (job.output / "history.jsonl").read_text().splitlines()]


def assert_tells_no_secret(folder: Path) -> None:
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert files
    for path in files:
        content = path.read_bytes()
        for secret in (CANARY, KEY, "of-the-user-section"):
            assert secret.encode() not in content, path


def wandb_runs(job: TrainingJob) -> list[dict[str, list[dict[str, Any]]]]:
    """The records of each offline run, by type, as wandb's own reader prints them."""
    runs = []
    for path in sorted(job.tracker_files.glob("wandb/offline-run-*/*.wandb")):
        command = [Path(sys.executable).with_name("wandb"), "leet", "inspect", "--json", path]
        done = subprocess.run(command, capture_output=True, text=True, check=True, stdin=subprocess.DEVNULL)
        records: dict[str, list[dict[str, Any]]] = {}
        for line in done.stdout.splitlines():
            record = json.loads(line)
            records.setdefault(record["type"], []).append(record[record["type"]])
        runs.append(records)
    return runs


def wandb_epochs(run: dict[str, list[dict[str, Any]]]) -> list[dict[str, Any]]:
    return [record["item"] for record in run["history"] if "epoch" in record["item"]]


def assert_holds(epochs: list[dict[str, float]], history: list[dict[str, float]]) -> None:
    """Every epoch, with all that history.jsonl has of it and its speed."""
    assert [{name: epoch[name] for name in history[0]} for epoch in epochs] == history
    assert all(epoch["rows_per_second"] > 0 for epoch in epochs)


def test_an_offline_wandb_run_holds_every_epoch_and_no_secret(make_job, warnings) -> None:
    job = make_job(MODEL, settings=settings_of("TRACKER = wandb", "MODE = offline"))
    train(job)
    assert warnings() == []
    (run,) = wandb_runs(job)
    assert_holds(wandb_epochs(run), history_of(job))

    (begun,) = run["run"]
    assert begun["run_group"] == "test/7"
    assert (begun["job_type"], begun["display_name"], begun["project"]) == ("train", "model", "tried")
    assert begun.get("host", "") == ""
    config = {name: value for record in run["config"] for name, value in record["update"].items()}
    versions = {name for name in config if name.startswith("versions/")}
    assert versions == {f"versions/{name}" for name in ("python", "mlpipe", "torch", "transformers", "accelerate")}
    hyperparameters = {name for name in config if name.startswith("hyperparameters/")}
    assert hyperparameters == {f"hyperparameters/{name}" for name in job.hyperparameters.model_dump()}
    assert config["hyperparameters/freeze"] == "output.bias, *.bias"
    others = {name: value for name, value in config.items() if name not in versions | hyperparameters}
    expected = {"model": "model", "seed": 42, "snapshot": "abc", "labels": 3, "user_hyperparameters/WIDTH": 8}
    assert others == expected

    summary = {name: value for record in run["summary"] for name, value in record["update"].items()}
    best = json.loads((job.output / "metrics.json").read_bytes())
    assert (summary["best/epoch"], summary["best/f1"]) == (best["best_epoch"], best["objective"])
    assert (summary["epochs.nrows"], summary["plots/curves.count"]) == (3, 1)
    assert run["exit"][0]["exit_code"] == 0

    assert_tells_no_secret(job.tracker_files)
    assert_tells_no_secret(job.output)
    names = {path.name for path in job.tracker_files.rglob("*") if path.is_file()}
    assert not names & {"output.log", "requirements.txt", "wandb-metadata.json", "diff.patch", "user_functions.py"}
    assert not Path(os.environ["HOME"]).exists()


def test_a_resumed_training_goes_on_with_its_wandb_run(make_job, warnings) -> None:
    job = make_job(MODEL, settings=settings_of("TRACKER = wandb", "MODE = offline"))
    train_in_two_attempts(job)
    assert warnings() == []
    stopped, ended = wandb_runs(job)
    assert stopped["run"][0]["run_id"] == ended["run"][0]["run_id"]
    assert stopped["exit"][0]["exit_code"] == 1
    history = history_of(job)
    assert_holds(wandb_epochs(stopped), history[:1])
    assert_holds(wandb_epochs(ended), history)


def test_the_id_of_a_run_is_that_of_the_same_training_alone(make_job) -> None:
    job = make_job(MODEL, settings=settings_of("TRACKER = wandb"))
    again = make_job(MODEL, settings=settings_of("TRACKER = wandb", "MODE = offline"), name="again")
    others = [
        make_job(MODEL, settings=settings_of("TRACKER = wandb", epochs=4), name="other"),
        replace(job, origin=replace(job.origin, run_id="of another run")),
        replace(job, channels_sha256="of other rows"),
    ]
    assert TrackedRun.of(again).id == TrackedRun.of(job).id
    assert len({TrackedRun.of(each).id for each in [job, *others]}) == 4


def test_tensorboard_reads_every_epoch_once(make_job, warnings) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    job = make_job(MODEL, settings=settings_of("TRACKER = tensorboard"))
    train_in_two_attempts(job)
    assert warnings() == []
    events = EventAccumulator(str(job.tracker_files / "tried"))
    events.Reload()
    history = history_of(job)
    for name in history[0]:
        found = [(event.step, event.value) for event in events.Scalars(name)]
        assert found == [(epoch["epoch"], pytest.approx(epoch[name], rel=1e-6)) for epoch in history]
    (image,) = events.Images("plots/curves")
    assert (image.width, image.height) == (1350, 540)
    (table,) = events.Tensors("epochs/text_summary")
    assert table.tensor_proto.string_val[0].decode().count("\n") == 1 + len(history)
    assert [event.value for event in events.Scalars("best/epoch")] == [
        max(history, key=lambda each: each["f1"])["epoch"]
    ]
    assert_tells_no_secret(job.tracker_files)


def test_mlflow_reads_every_epoch_once(make_job, warnings) -> None:
    job = make_job(MODEL, settings=settings_of("TRACKER = mlflow"))
    train_in_two_attempts(job)
    assert warnings() == []

    from mlflow import MlflowClient

    client = MlflowClient(job.tracker_files.as_uri())
    experiment = client.get_experiment_by_name("tried")
    (run,) = client.search_runs([experiment.experiment_id])
    history = history_of(job)
    for name in history[0]:
        found = [(metric.step, metric.value) for metric in client.get_metric_history(run.info.run_id, name)]
        assert found == [(epoch["epoch"], epoch[name]) for epoch in history]
    tags = run.data.tags
    assert (tags["group"], tags["job_type"], tags["mlflow.runName"]) == ("test/7", "train", "model")
    assert run.data.params["user_hyperparameters/WIDTH"] == "8"
    assert run.info.status == "FINISHED"
    artifacts = {file.path for folder in ("", "plots") for file in client.list_artifacts(run.info.run_id, folder)}
    assert {"plots/curves.png", "plots/curves.svg", "epochs.json"} <= artifacts
    assert_tells_no_secret(job.tracker_files)


class Broken(GeneralTracker):
    """A tracker of the test's own that goes wrong in one call."""

    name = "broken"
    requires_logging_directory = False

    def __init__(self, call: str, what: Callable[[], None]) -> None:
        super().__init__()
        self.wrong, self.what = call, what

    @property
    def tracker(self) -> None:
        return None

    def start(self) -> None:
        self._called("start")

    def store_init_configuration(self, values: dict[str, Any]) -> None:
        self._called("store_init_configuration")

    def log(self, values: dict[str, Any], step: int | None = None, **kwargs: Any) -> None:
        self._called("log")

    def finish(self) -> None:
        self._called("finish")

    def _called(self, name: str) -> None:
        if name == self.wrong:
            self.what()


class BrokenTracker(Tracker):
    name = "broken"
    module = "json"

    def __init__(self, job: TrainingJob, broken: Broken) -> None:
        super().__init__(TrackedRun.of(job))
        self.broken = broken

    @property
    def log_with(self) -> Broken:
        return self.broken


def fail() -> None:
    raise ValueError("the server said no\nand more")


def train_with(job: TrainingJob, tracker: Tracker | None) -> tuple[list[Any], dict[str, torch.Tensor]]:
    AcceleratorState._reset_state(reset_partial_state=True)
    accelerator = start_accelerator(job, tracker)
    with reporting(tracker, accelerator) as reporter:
        trained = fit(job, accelerator, reporter)
        assert trained
        if reporter:
            reporter.add_results(trained.history, job.output)
    return trained.history.records, trained.classifier.module.state_dict()


@pytest.mark.parametrize("call", ["start", "store_init_configuration", "log", "finish"])
@pytest.mark.parametrize("how", ["raises", "hangs"])
def test_a_tracker_that_fails_or_hangs_is_one_warning(make_job, warnings, monkeypatch, call: str, how: str) -> None:
    expected, weights = train_with(make_job(MODEL, settings=settings_of(), name="without"), None)
    assert warnings() == []
    released = threading.Event()
    monkeypatch.setattr("mlpipe.training.tracking.END_SECONDS", 0.2)
    job = make_job(MODEL, settings=settings_of())
    found, state = train_with(job, BrokenTracker(job, Broken(call, fail if how == "raises" else released.wait)))
    released.set()
    assert found == expected
    assert all(torch.equal(state[name], weights[name]) for name in weights)
    reason = "ValueError: the server said no" if how == "raises" else "it did not take everything within 0 seconds"
    text = "the training is not touched by that, and history.jsonl has every epoch"
    assert warnings() == [f"tracker broken is left out: {reason}; {text}"]


@pytest.mark.parametrize(
    ("tracker", "drawing"),
    [("wandb", "wandb.sdk.lib.retry"), ("tensorboard", None), ("mlflow", "mlflow.utils.name_utils")],
)
def test_a_tracker_draws_no_random_number_of_the_training(
    make_job, warnings, monkeypatch, tracker: str, drawing: str | None
) -> None:
    monkeypatch.setattr(
        uuid, "uuid4", lambda: uuid.UUID(int=10**20 + 1)
    )  # MLflow fills up an id that begins with zeros
    job = make_job(MODEL, settings=settings_of(f"TRACKER = {tracker}", "MODE = offline"))
    chosen = tracker_of(job)
    accelerator = start_accelerator(job, chosen)
    states = random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()
    with reporting(chosen, accelerator):
        pass
    if drawing:
        sys.modules[drawing].random.random()  # as it does now and then
    assert warnings() == []
    assert states == (random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist())


def can_cut_the_network() -> bool:
    unshare = shutil.which("unshare")
    return bool(unshare) and subprocess.run([unshare, "-rn", "true"], capture_output=True, check=False).returncode == 0


@pytest.mark.skipif(not can_cut_the_network(), reason="needs the right to cut a process off the network (unshare)")
@pytest.mark.parametrize(("timeout", "patience"), [("1", 20), ("60", 1)], ids=["wandb gives up", "wandb waits"])
def test_without_a_network_training_ends_well_with_a_warning(
    make_job, base_folder, tmp_path, timeout: str, patience: int
) -> None:
    job = make_job(MODEL, settings=settings_of("TRACKER = wandb"))
    base = base_folder(job, tmp_path / "base")
    script = (
        f"import sys; sys.path[:0] = {sys.path!r}; "
        f"from mlpipe.training import tracking; tracking.END_SECONDS = {patience}; "
        "from mlpipe.jobs.__main__ import exit_with, main; exit_with(main(['train']), seconds=1)"
    )
    environment = {**os.environ, "SAGEMAKER_BASE_DIR": str(base), "WANDB_INIT_TIMEOUT": timeout}
    command = ["unshare", "-rn", sys.executable, "-c", script]
    # Its output ends with the last process that can write to it: wandb's own has to be gone too.
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    lines = done.stdout.splitlines()
    (warning,) = [line for line in lines if line.startswith("tracker wandb is left out: ")]
    assert warning.endswith("and history.jsonl has every epoch")
    assert len((base / "model" / "history.jsonl").read_text().splitlines()) == 3
    assert (base / "model" / "manifest.json").is_file()
    assert CANARY not in done.stdout + done.stderr
    assert KEY not in done.stdout + done.stderr
    assert_tells_no_secret(base / "output")
    assert_tells_no_secret(base / "model")
