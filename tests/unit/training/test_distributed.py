"""Several processes that train one model: the same as one process, and one end for all."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import psutil
import pytest
import torch
from safetensors.torch import load_file

MODEL = """
import json, os, time
from pathlib import Path

NOTES = Path(__file__).resolve().with_name("notes")

class Model(nn.Module):
    def __init__(self, labels):
        super().__init__()
        self.embedding = nn.Embedding(20, 8)
        self.output = nn.Linear(8, labels)
        self.unused = nn.Linear(2, 2)

    def forward(self, input_ids, attention_mask):
        rank = os.environ.get("RANK", "0")
        {hook}
        mask = attention_mask.unsqueeze(-1).float()
        return self.output((self.embedding(input_ids) * mask).sum(1) / mask.sum(1))
"""

SETTINGS = """
[HYPERPARAMETERS]
EPOCHS = 1
BATCH_SIZE = 11
LEARNING_RATE = 0.02
WARMUP_RATIO = 0
[TRAINING]
MAX_BATCH_PER_DEVICE = 4
METRICS = f1, log_loss
CLASS_WEIGHTS = balanced
"""
TWO = "USE_DISTRIBUTED = yes\nPROCESSES = 2\n"

NOTE_ROWS = """
        if not self.training:
            with (NOTES / rank).open("a") as file:
                for row, mask in zip(input_ids.tolist(), attention_mask.tolist()):
                    file.write(json.dumps(row[:sum(mask)]) + "\\n")
"""


def start(base: Path, folder: Path) -> subprocess.Popen[str]:
    """Start the entrypoint as a platform does, in an attempt of its own."""
    folder.mkdir()
    (folder / "input").symlink_to(base / "input")
    environment = {**os.environ, "SAGEMAKER_BASE_DIR": str(folder), "HF_HOME": str(folder / "hf")}
    environment |= {"OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"}
    return subprocess.Popen(
        [sys.executable, "-m", "mlpipe.jobs", "train"],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


Train = Callable[..., tuple[int, str, Path]]


@pytest.fixture
def train(make_job, base_folder, tmp_path) -> Train:
    """Train a job in a process of its own; returns the exit code, the log, and the attempt's folder."""

    def run(name: str, hook: str, settings: str, **rows: object) -> tuple[int, str, Path]:
        job = make_job(MODEL.replace("{hook}", hook.strip() or "pass"), settings=settings, name=name, **rows)
        base = base_folder(job, tmp_path / f"{name}-base")
        (job.functions.code / "notes").mkdir()
        process = start(base, tmp_path / f"{name}-attempt")
        log, _ = process.communicate()
        return process.returncode, log, tmp_path / f"{name}-attempt"

    return run


def test_two_processes_learn_what_one_learns_and_judge_it_on_the_same_rows(train, token_rows, tmp_path) -> None:
    # 23 rows in batches of 11 are three steps, the last of them on a lone row.
    rows = {"train": token_rows(23, 1), "validation": token_rows(31, 2)}
    found: list[Mapping[str, torch.Tensor]] = []
    seen: list[list[str]] = []
    histories = []
    for name, settings in {"one": SETTINGS, "two": SETTINGS + TWO}.items():
        code, log, attempt = train(name, NOTE_ROWS, settings, **rows)
        assert code == 0, log
        assert log.count("mlpipe-objective: ") == 2, log
        found.append(load_file(attempt / "model" / "state_dict.safetensors"))
        histories.append(json.loads((attempt / "model" / "history.jsonl").read_text()))
        notes = sorted((tmp_path / name / "notes").iterdir())
        seen.append(sorted(line for path in notes for line in path.read_text().splitlines()))
        assert [path.name for path in notes] == (["0"] if name == "one" else ["0", "1"])
        assert json.loads((attempt / "model" / "timing.json").read_text())["processes"] == len(notes)
    assert found[0].keys() == found[1].keys()
    for name in found[0]:
        torch.testing.assert_close(found[1][name], found[0][name], atol=1e-5, rtol=0)
    assert histories[1] == pytest.approx(histories[0], abs=1e-5)
    # Every row as often as in one process: once for the epoch, and those that the export was tried on in the first one.
    assert seen[1] == seen[0]
    assert set(seen[0]) >= {json.dumps(row["input_ids"]) for row in rows["validation"]}


@pytest.mark.parametrize(
    ("hook", "code", "failure"),
    [
        (
            'if self.training and rank == "1": raise RuntimeError("as ordered")',
            3,
            "UserFunctionError: process 1 of 2: forward() of the model from load_model failed at",
        ),
        (
            'if self.training and rank == "1": os.kill(os.getpid(), 9)',
            1,
            "JobError: process 1 of 2 was killed (SIGKILL), as the system does when memory runs out",
        ),
    ],
)
def test_a_process_that_dies_ends_the_job_with_its_own_reason(train, hook, code, failure) -> None:
    returned, log, attempt = train("one", hook, SETTINGS + TWO)
    assert returned == code, log
    report = (attempt / "output" / "failure").read_text()
    assert report.startswith(failure)
    assert ("as ordered" in report.partition("Traceback")[2]) == ("as ordered" in hook)
    assert not (attempt / "model" / "manifest.json").exists()


def test_no_process_outlives_the_job(make_job, base_folder, tmp_path) -> None:
    hook = """
        if self.training:
            (NOTES / rank).write_text(str(os.getpid()))
            time.sleep(60)
"""
    job = make_job(MODEL.replace("{hook}", hook.strip()), settings=SETTINGS + TWO)
    notes = job.functions.code / "notes"
    notes.mkdir()
    process = start(base_folder(job, tmp_path / "base"), tmp_path / "attempt")
    while len(pids := [path.read_text() for path in notes.iterdir()]) < 2 or not all(pids):
        assert process.poll() is None, process.communicate()[0]
        time.sleep(0.05)
    process.kill()
    process.communicate()
    deadline = time.monotonic() + 30
    while any(psutil.pid_exists(int(pid)) for pid in pids):
        assert time.monotonic() < deadline, "a process outlived the job by half a minute"
        time.sleep(0.05)


def test_two_machines_learn_what_one_learns(train, make_job, base_folder, token_rows, tmp_path) -> None:
    rows = {"train": token_rows(23, 1), "validation": token_rows(31, 2)}
    code, log, alone = train("one", "pass", SETTINGS, **rows)
    assert code == 0, log
    settings = SETTINGS + "USE_DISTRIBUTED = yes\n"
    job = make_job(MODEL.replace("{hook}", "pass"), settings=settings, name="two", **rows)
    base = base_folder(job, tmp_path / "base")
    names = ["127.0.0.1", "127.0.0.2"]
    processes = []
    for name in names:
        own = tmp_path / f"base-{name}"
        shutil.copytree(base, own, symlinks=True)
        hosts = {"current_host": name, "hosts": names, "network_interface_name": "lo"}
        (own / "input" / "config" / "resourceconfig.json").write_text(json.dumps(hosts))
        processes.append(start(own, tmp_path / name))
    logs = [process.communicate()[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0], logs
    found = load_file(tmp_path / names[0] / "model" / "state_dict.safetensors")
    expected = load_file(alone / "model" / "state_dict.safetensors")
    for name in expected:
        torch.testing.assert_close(found[name], expected[name], atol=1e-5, rtol=0)
    assert (tmp_path / names[0] / "model" / "manifest.json").exists()
    assert list((tmp_path / names[1] / "model").iterdir()) == []
