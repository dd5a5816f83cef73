"""The train step as a whole: from a snapshot to the content of models/<MODEL_NAME>/."""

from __future__ import annotations

import json
import logging
import re
from dataclasses import asdict, replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from mlpipe.batching import EncodedRows
from mlpipe.errors import JobError
from mlpipe.jobs.environment import JobContext
from mlpipe.jobs.train import run
from mlpipe.specs import Signature
from mlpipe.training.precision import offers_bf16

SETTINGS = "[HYPERPARAMETERS]\nEPOCHS = 3\nLEARNING_RATE = 0.05\nBATCH_SIZE = 8\n[TRAINING]\nMIXED_PRECISION = {}\n"


def context_of(job) -> JobContext:
    job.encoding_folder.mkdir()
    (job.encoding_folder / "encoding.json").write_text(json.dumps(job.encoding.to_json()))
    job.output.mkdir()
    return JobContext(
        step="train",
        settings=job.settings,
        code=job.functions.code,
        package="user_functions",
        channels={"train": job.train, "validation": job.validation, "encoding": job.encoding_folder},
        channels_sha256=job.channels_sha256,
        output=job.output,
        checkpoints=job.checkpoints,
        model_name="model",
        output_data=job.tracker_files,
        arguments={"model_name": "model", "origin": asdict(job.origin)},
        threads=1,
    )


def files_of(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.filterwarnings("ignore:.torch.jit.load. is deprecated:DeprecationWarning")
def test_equal_jobs_publish_equal_files(make_job, caplog) -> None:
    caplog.set_level(logging.INFO)
    published = []
    for name in ("one", "two"):
        job = make_job(settings=SETTINGS.format("no"), name=name)
        run(context_of(job))
        published.append(files_of(job.output))
    first, second = published
    assert set(first) == {
        *("model.pt", "model.pt2", "state_dict.safetensors", "id2label.json", "signature.json", "parity.json"),
        *("metrics.json", "timing.json", "history.jsonl", "plots/curves.png", "plots/curves.svg"),
    }
    # Types in TorchScript are numbered throughout a process, and both were traced in the same one.
    differing = {name for name in first if first[name] != second[name]}
    assert differing <= {"timing.json", "model.pt"}

    metrics = json.loads(first["metrics.json"])
    lines = [message for message in caplog.messages if message.startswith("mlpipe-objective:")]
    assert len(lines) == 2 * (3 + 1)
    assert re.fullmatch(r"mlpipe-objective: f1=\d\.\d{6}", lines[-1])
    assert float(lines[-1].split("=")[1]) == pytest.approx(metrics["objective"], abs=1e-6)
    assert metrics["rows"] == {"train": 96, "validation": 30}


@pytest.mark.skipif(not offers_bf16(), reason="needs a device that computes in bf16")
@pytest.mark.filterwarnings("ignore:.torch.jit.load. is deprecated:DeprecationWarning")
def test_the_published_model_scores_what_was_measured(make_job) -> None:
    job = make_job(settings=SETTINGS.format("bf16"))
    run(context_of(job))
    signature = Signature.from_json(json.loads((job.output / "signature.json").read_bytes()))
    rows = EncodedRows.open(job.validation, job.encoding, "model")
    batch = rows.collate(range(len(rows)), {entry.name: entry.padding_value for entry in signature.inputs})
    exported = torch.jit.load(job.output / "model.pt")
    with torch.no_grad():
        accuracy = float((exported(*batch.values()).argmax(1).numpy() == rows.labels).mean())
    metrics = json.loads((job.output / "metrics.json").read_bytes())
    assert accuracy == pytest.approx(metrics["validation"]["accuracy"])
    assert json.loads((job.output / "timing.json").read_bytes())["mixed_precision"] == "bf16"
    assert {value.dtype for value in load_file(job.output / "state_dict.safetensors").values()} == {torch.float32}


def test_a_training_job_without_a_model_name_is_refused(make_job) -> None:
    with pytest.raises(JobError, match="names no model"):
        run(replace(context_of(make_job()), model_name=None))
