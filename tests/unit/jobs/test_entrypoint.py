"""The entrypoint as the platform calls it: a process, a base folder, nothing else."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from mlpipe.manifest import parse_manifest, sha256_of, to_bytes
from mlpipe.settings import load_settings

FUNCTIONS = """
def reconcile(settings):
    {body}

def load_processor(model_name, settings): ...
def encode(examples, processor, model_name, settings): ...
def load_model(model_name, id2label, settings): ...
def ordered_input_keys(model_name, settings): ...
"""

SETTINGS = "[EXPERIMENT]\nEXPERIMENT_NAME = e\nMODEL_NAMES = m\nUSER_FUNCTIONS = functions\n"
ROWS = "yield from ({'text': f'text number {n}', 'label': 'ab'[n % 2]} for n in range(20))"


def make_job(
    tmp_path: Path, body: str = ROWS, channels: dict[str, object] | None = None, step: str = "reconcile"
) -> Path:
    """A base folder with the `job` channel of a processing job."""
    (tmp_path / "settings.ini").write_text(SETTINGS)
    job = tmp_path / "ml" / "processing" / "input" / "job"
    (job / "user_functions").mkdir(parents=True)
    (job / "user_functions" / "functions.py").write_text(FUNCTIONS.format(body=body))
    (job / "settings.resolved.json").write_bytes(to_bytes(load_settings(tmp_path / "settings.ini", (), {}).to_json()))
    document = {"step": step, "package": "functions", "arguments": {}, "threads": 1, "channels": channels or {}}
    (job / "job.json").write_bytes(to_bytes(document))
    return tmp_path / "ml"


def run_job(base: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "SAGEMAKER_BASE_DIR": str(base), "HF_HOME": str(base / "hf")}
    command = [sys.executable, "-m", "mlpipe.jobs", *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def test_a_job_leaves_its_results_and_a_manifest_that_vouches_for_them(tmp_path: Path):
    base = make_job(tmp_path)
    done = run_job(base, "reconcile")
    assert done.returncode == 0, done.stdout + done.stderr
    output = base / "processing" / "output" / "result"
    files = parse_manifest((output / "manifest.json").read_bytes(), "manifest")
    assert set(files) == {"rows.arrow", "data_card.json"}
    assert files["rows.arrow"].sha256 == sha256_of(output / "rows.arrow")
    assert not (base / "output" / "message").exists()


def test_a_user_error_is_first_in_the_failure_file_and_in_the_exit_code(tmp_path: Path):
    base = make_job(tmp_path, body="raise ValueError('no data today')")
    done = run_job(base, "reconcile")
    assert done.returncode == 3
    failure = (base / "output" / "message").read_text()
    assert failure.startswith("UserFunctionError: reconcile() failed at functions.py:3: ValueError: no data today\n")
    assert "Traceback" in failure
    assert "Traceback" in done.stdout
    assert not (base / "processing" / "output" / "result" / "manifest.json").exists()


def test_a_function_that_hangs_when_the_job_is_stopped_is_named(tmp_path: Path):
    base = make_job(tmp_path, body="import os, signal, time; os.kill(os.getpid(), signal.SIGTERM); time.sleep(60)")
    assert run_job(base, "reconcile").returncode == 3
    assert "reconcile() was still running at functions.py:3" in (base / "output" / "message").read_text()


def test_an_altered_channel_is_refused_before_the_step_starts(tmp_path: Path):
    files = {"rows.arrow": {"sha256": "0" * 64, "size": 4}}
    base = make_job(tmp_path, channels={"reconciled": files}, step="prepare")
    (base / "processing" / "input" / "reconciled").mkdir()
    (base / "processing" / "input" / "reconciled" / "rows.arrow").write_bytes(b"evil")
    assert run_job(base, "prepare").returncode == 4
    failure = (base / "output" / "message").read_text()
    assert failure.startswith("IntegrityError: reconciled/rows.arrow has changed since it was committed")


@pytest.mark.parametrize("arguments", [("train",), ("reconcile",)])
def test_a_process_that_is_no_job_says_which_command_to_use(tmp_path: Path, arguments: tuple[str, ...]):
    done = run_job(tmp_path, *arguments)
    assert done.returncode == 1
    assert "this is not a job that mlpipe prepared" in done.stdout
    assert "mlpipe run settings.ini" in done.stdout


def test_the_results_of_equal_jobs_are_equal_bytes(tmp_path: Path):
    manifests = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        base = make_job(tmp_path / name)
        assert run_job(base, "reconcile").returncode == 0
        manifests.append(json.loads((base / "processing" / "output" / "result" / "manifest.json").read_text()))
    assert manifests[0] == manifests[1]
