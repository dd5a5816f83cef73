"""The two data sets: their rows, reconciled, split and encoded by mlpipe, and the training job on them."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from mlpipe.settings import load_settings
from mlpipe.specs import Encoding, Origin
from mlpipe.training.job import TrainingJob
from mlpipe.user_functions import UserFunctions

MODEL = "model"

SETTINGS = """\
[EXPERIMENT]
EXPERIMENT_NAME = benchmark
MODEL_NAMES = {model}
USER_FUNCTIONS = {name}
[DATA]
SOURCES = {sources}
[TRAINING]
THREADS = {threads}
[HYPERPARAMETERS]
{hyperparameters}
[USER]
{user}
"""


@dataclass(frozen=True)
class Case:
    """One data set with its model: `name` is that of the module with its user functions, beside this one."""

    name: str
    title: str
    hyperparameters: Mapping[str, object]
    user: Mapping[str, object]
    sources: str = ""


def documents(*, is_quick: bool) -> Case:
    """A BERT with random weights on made documents of log-normal length."""
    rows = (64, 32) if is_quick else (640, 256)
    return Case(
        name="documents",
        title="BERT 4x128 with random weights, documents of log-normal length (median 64 tokens, at most 256)",
        hyperparameters={"EPOCHS": 1 if is_quick else 3, "BATCH_SIZE": 16, "LEARNING_RATE": 1e-3},
        user={"TRAIN_ROWS": rows[0], "VALIDATION_ROWS": rows[1], "TEST_ROWS": 16},
    )


def banking77(file: Path, encoder: Path, *, is_quick: bool) -> Case:
    """The demo's MiniLM on queries of 39 of banking77's 77 intents."""
    rows = (2, 1) if is_quick else (14, 5)
    return Case(
        name="banking77",
        title="MiniLM, short queries of 39 intents of banking77",
        hyperparameters={"EPOCHS": 1 if is_quick else 3, "BATCH_SIZE": 32, "LEARNING_RATE": 2e-4},
        user={"TRAIN_ROWS": rows[0], "VALIDATION_ROWS": rows[1], "TEST_ROWS": 1, "ENCODER": encoder},
        sources=str(file.resolve()),
    )


def prepare(case: Case, folder: Path, threads: int) -> None:
    """Make a folder with settings and functions, and let `mlpipe prepare` make the snapshot in it."""
    folder.mkdir()
    shutil.copy(Path(__file__).with_name(f"{case.name}.py"), folder)
    settings = SETTINGS.format(
        model=MODEL,
        name=case.name,
        sources=case.sources,
        threads=threads,
        hyperparameters=_lines(case.hyperparameters),
        user=_lines(case.user),
    )
    (folder / "settings.ini").write_text(settings)
    done = subprocess.run(
        [sys.executable, "-m", "mlpipe", "prepare", "settings.ini"], cwd=folder, capture_output=True, text=True
    )
    if done.returncode:
        sys.exit(f"mlpipe prepare failed:\n{done.stderr}")


def training_job(case: Case, folder: Path, threads: int, overrides: Sequence[str]) -> TrainingJob:
    """The job that trains on the snapshot in `folder`, as mlpipe's train step would make it."""
    (prepared,) = (folder / "storage" / "benchmark" / "data" / "prepared").iterdir()
    return TrainingJob(
        model_name=MODEL,
        encoding=Encoding.from_json(json.loads((prepared / "encoding" / "encoding.json").read_bytes())),
        train=prepared / "train",
        validation=prepared / "validation",
        encoding_folder=prepared / "encoding",
        output=folder / "output",
        checkpoints=folder / "checkpoints",
        channels_sha256="",
        settings=load_settings(folder / "settings.ini", overrides, {}),
        functions=UserFunctions.load(folder, case.name),
        threads=threads,
        origin=Origin(run_num=1, run_id="benchmark", job_type="train", snapshot=prepared.name),
        tracker_files=folder / "tracker",
    )


def _lines(values: Mapping[str, object]) -> str:
    return "\n".join(f"{key} = {value}" for key, value in values.items())
