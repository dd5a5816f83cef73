"""The base folders of jobs as the platform lays them out (/opt/ml), and the entrypoint as it calls it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from datasets import Dataset

from mlpipe.manifest import to_bytes
from mlpipe.settings import load_settings

PROCESSING = """
def reconcile(settings):
    {body}

def load_processor(model_name, settings): ...
def encode(examples, processor, model_name, settings): ...
def load_model(model_name, id2label, settings): ...
def ordered_input_keys(model_name, settings): ...
"""

TRAINING = """
from torch import nn

def reconcile(settings): ...
def load_processor(model_name, settings): ...
def encode(examples, processor, model_name, settings): ...

class Model(nn.Module):
    def __init__(self, labels):
        super().__init__()
        self.embedding = nn.Embedding(10, 8, padding_idx=0)
        self.output = nn.Linear(8, labels)

    def forward(self, input_ids):
        return self.output(self.embedding(input_ids).sum(1))

def load_model(model_name, id2label, settings):
    return Model(len(id2label))

def ordered_input_keys(model_name, settings):
    return {"input_ids": 0}
"""

SETTINGS = "[EXPERIMENT]\nEXPERIMENT_NAME = e\nMODEL_NAMES = m\nUSER_FUNCTIONS = functions\n"
ROWS = "yield from ({'text': f'text number {n}', 'label': 'ab'[n % 2]} for n in range(20))"


def processing_folder(
    folder: Path, body: str = ROWS, channels: Mapping[str, object] | None = None, step: str = "reconcile"
) -> Path:
    """What a processing job finds, below `folder`; `body` is that of reconcile()."""
    base = folder / "ml"
    document = {"step": step, "package": "functions", "arguments": {}, "threads": 1, "channels": channels or {}}
    _write_job_channel(base / "processing" / "input" / "job", PROCESSING.format(body=body), document)
    return base


def training_folder(folder: Path, hyperparameters: Mapping[str, str]) -> Path:
    """What a training job of the model `m` finds, below `folder`: four tokens a row, whose sum tells the label."""
    base = folder / "ml"
    inputs, configuration = base / "input" / "data", base / "input" / "config"
    origin = {"run_num": 1, "run_id": "0", "job_type": "train", "snapshot": "0"}
    arguments = {"model_name": "m", "origin": origin}
    document = {"step": "train", "package": "functions", "arguments": arguments, "threads": 1}
    channels: dict[str, Any] = {"train": {}, "validation": {}, "encoding": {}}
    _write_job_channel(inputs / "job", TRAINING, {**document, "channels": channels})
    for name, count in {"train": 48, "validation": 12}.items():
        rows = [{"id": f"{name}-{n}", "label": n % 2, "input_ids": [n % 2 * 4 + 1 + n % 3] * 4} for n in range(count)]
        Dataset.from_list(rows).save_to_disk(inputs / name)
    described = {"dtype": "int64", "ragged": True, "trailing_shape": [], "min_length": 4, "max_length": 4}
    encoding = {"task_type": "single_label", "model_names": ["m"], "labels": ["low", "high"]}
    _write_json(inputs / "encoding" / "encoding.json", {**encoding, "inputs": {"m": {"input_ids": described}}})
    _write_json(configuration / "hyperparameters.json", hyperparameters)
    hosts = {"current_host": "algo-1", "hosts": ["algo-1"], "network_interface_name": "lo"}
    _write_json(configuration / "resourceconfig.json", hosts)
    return base


def run_entrypoint(
    base: Path, *arguments: str, environment: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a job to its end in a process of its own."""
    variables = {"SAGEMAKER_BASE_DIR": str(base), "HF_HOME": str(base / "hf")}
    return subprocess.run(
        [sys.executable, "-m", "mlpipe.jobs", *arguments],
        env={**os.environ, **variables, **(environment or {})},
        capture_output=True,
        text=True,
        check=False,
    )


def _write_job_channel(channel: Path, functions: str, document: Mapping[str, object]) -> None:
    (channel / "user_functions").mkdir(parents=True)
    (channel / "user_functions" / "functions.py").write_text(functions)
    settings = channel.parent / "settings.ini"
    settings.write_text(SETTINGS)
    (channel / "settings.resolved.json").write_bytes(to_bytes(load_settings(settings, (), {}).to_json()))
    (channel / "job.json").write_bytes(to_bytes(document))
    settings.unlink()


def _write_json(path: Path, document: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document))
