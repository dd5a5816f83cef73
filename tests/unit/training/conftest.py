"""Small training jobs over real files: snapshots written with `save_to_disk`, user functions in their own folder."""

from __future__ import annotations

import json
import sys
import textwrap
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from accelerate.state import AcceleratorState
from datasets import Dataset, disable_progress_bars

from mlpipe.settings import load_settings
from mlpipe.specs import EncodedInput, Encoding, Origin, TaskType
from mlpipe.training.job import TrainingJob
from mlpipe.user_functions import UserFunctions

VOCABULARY = 20
LABELS = ("animal", "mineral", "plant")
ORIGIN = Origin(run_num=7, run_id="0123", job_type="train", snapshot="abc")
ARGUMENTS = {"model_name": "model", "origin": asdict(ORIGIN)}

Rows = Sequence[Mapping[str, Any]]
MakeJob = Callable[..., TrainingJob]

USER_FUNCTIONS = """
import torch
from torch import nn

def reconcile(settings): ...
def load_processor(model_name, settings): ...
def encode(examples, processor, model_name, settings): ...

{model}

def load_model(model_name, id2label, settings):
    return {load_model}

def ordered_input_keys(model_name, settings):
    return {keys}
"""

BAG_OF_TOKENS = """
class Model(nn.Module):
    def __init__(self, labels):
        super().__init__()
        self.embedding = nn.Embedding(20, 16)
        self.norm = nn.LayerNorm(16)
        self.dropout = nn.Dropout(0.1)
        self.output = nn.Linear(16, labels)

    def forward(self, input_ids, attention_mask):
        mask = attention_mask.unsqueeze(-1).float()
        mean = (self.embedding(input_ids) * mask).sum(1) / mask.sum(1)
        return self.output(self.dropout(self.norm(mean)))
"""
"""A model that learns the rows of `token_rows`."""


def make_token_rows(count: int, seed: int, *, low: int = 2, high: int = 12) -> list[dict[str, Any]]:
    """Rows of `low` to `high` tokens, of which most come from the third of the vocabulary that belongs to the label."""
    generator = np.random.default_rng(seed)
    rows = []
    for number in range(count):
        label, length = number % 3, int(generator.integers(low, high + 1))
        typical = 1 + 6 * label + generator.integers(0, 6, length)
        tokens = np.where(generator.random(length) < 0.7, typical, generator.integers(1, VOCABULARY, length))
        row = {"id": f"{seed}-{number}", "label": label, "input_ids": tokens.tolist()}
        rows.append(row | {"attention_mask": [1] * length})
    return rows


def ragged(rows: Rows, key: str) -> EncodedInput:
    """What `prepare` would say about a ragged int64 input."""
    lengths = [len(row[key]) for row in rows]
    return EncodedInput("int64", True, (), min(lengths), max(lengths))


@pytest.fixture(autouse=True)
def _new_accelerator_state() -> Iterator[None]:
    """A job is a process of its own, where Accelerate's state begins empty."""
    disable_progress_bars()
    yield
    AcceleratorState._reset_state(reset_partial_state=True)


@pytest.fixture
def token_rows() -> Callable[..., list[dict[str, Any]]]:
    """`make_token_rows`, for tests that need rows of their own."""
    return make_token_rows


def _base_folder(job: TrainingJob, folder: Path) -> Path:
    """What a platform lays out for the job, without the folders that each attempt has for itself."""
    channel = folder / "input" / "data" / "job"
    (channel / "user_functions").mkdir(parents=True)
    (channel / "user_functions" / "user_functions.py").symlink_to(job.functions.code / "user_functions.py")
    (channel / "settings.resolved.json").write_text(json.dumps(job.settings.to_json()))
    document = {"step": "train", "package": "user_functions", "arguments": ARGUMENTS, "threads": 1}
    (channel / "job.json").write_text(
        json.dumps({**document, "channels": {"train": {}, "validation": {}, "encoding": {}}})
    )
    (folder / "input" / "config").mkdir()
    (folder / "input" / "config" / "hyperparameters.json").write_text("{}")
    hosts = {"current_host": "algo-1", "hosts": ["algo-1"], "network_interface_name": "lo"}
    (folder / "input" / "config" / "resourceconfig.json").write_text(json.dumps(hosts))
    job.encoding_folder.mkdir()
    (job.encoding_folder / "encoding.json").write_text(json.dumps(job.encoding.to_json()))
    for name, path in {"train": job.train, "validation": job.validation, "encoding": job.encoding_folder}.items():
        (folder / "input" / "data" / name).symlink_to(path)
    return folder


@pytest.fixture
def base_folder() -> Callable[[TrainingJob, Path], Path]:
    """`_base_folder`: what a platform lays out for a job."""
    return _base_folder


@pytest.fixture
def make_job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> MakeJob:
    """Write a snapshot, settings and user functions, and return the job that trains on them."""
    monkeypatch.setattr(sys, "path", list(sys.path))

    def make(
        model: str = BAG_OF_TOKENS,
        *,
        load_model: str = "Model(len(id2label))",
        keys: str = '["input_ids", "attention_mask"]',
        settings: str = "",
        train: Rows | None = None,
        validation: Rows | None = None,
        inputs: Mapping[str, EncodedInput] | None = None,
        name: str = "job",
    ) -> TrainingJob:
        folder = tmp_path / name
        train = make_token_rows(96, 1) if train is None else train
        validation = make_token_rows(30, 2) if validation is None else validation
        Dataset.from_list(list(train)).save_to_disk(folder / "train")
        Dataset.from_list(list(validation)).save_to_disk(folder / "validation")
        every = [*train, *validation]
        described = inputs or {key: ragged(every, key) for key in ("input_ids", "attention_mask")}
        (folder / "user_functions.py").write_text(
            USER_FUNCTIONS.format(model=textwrap.dedent(model), load_model=load_model, keys=keys)
        )
        (folder / "settings.ini").write_text(
            "[EXPERIMENT]\nEXPERIMENT_NAME = test\nMODEL_NAMES = model\n" + textwrap.dedent(settings)
        )
        return TrainingJob(
            model_name="model",
            encoding=Encoding(TaskType.SINGLE_LABEL, ("model",), LABELS, {"model": described}),
            train=folder / "train",
            validation=folder / "validation",
            encoding_folder=folder / "encoding",
            output=folder / "output",
            checkpoints=folder / "checkpoints",
            channels_sha256="",
            settings=load_settings(folder / "settings.ini"),
            functions=UserFunctions.load(folder, "user_functions"),
            threads=1,
            origin=ORIGIN,
            tracker_files=folder / "tracker_files",
        )

    return make
