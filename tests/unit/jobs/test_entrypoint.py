"""The entrypoint as the platform calls it: a process, a base folder, nothing else."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from job_folder import processing_folder, run_entrypoint, training_folder

from mlpipe.manifest import parse_manifest, sha256_of


def test_a_job_leaves_its_results_and_a_manifest_that_vouches_for_them(tmp_path: Path):
    base = processing_folder(tmp_path)
    done = run_entrypoint(base, "reconcile")
    assert done.returncode == 0, done.stdout + done.stderr
    output = base / "processing" / "output" / "result"
    files = parse_manifest((output / "manifest.json").read_bytes(), "manifest")
    assert set(files) == {"rows.arrow", "data_card.json"}
    assert files["rows.arrow"].sha256 == sha256_of(output / "rows.arrow")
    assert not (base / "output" / "message").exists()


def test_a_user_error_is_first_in_the_failure_file_and_in_the_exit_code(tmp_path: Path):
    base = processing_folder(tmp_path, body="raise ValueError('no data today')")
    done = run_entrypoint(base, "reconcile")
    assert done.returncode == 3
    failure = (base / "output" / "message").read_text()
    assert failure.startswith("UserFunctionError: reconcile() failed at functions.py:3: ValueError: no data today\n")
    assert "Traceback" in failure
    assert "Traceback" in done.stdout
    assert not (base / "processing" / "output" / "result" / "manifest.json").exists()


def test_a_function_that_hangs_when_the_job_is_stopped_is_named(tmp_path: Path):
    base = processing_folder(
        tmp_path, body="import os, signal, time; os.kill(os.getpid(), signal.SIGTERM); time.sleep(60)"
    )
    assert run_entrypoint(base, "reconcile").returncode == 3
    assert "reconcile() was still running at functions.py:3" in (base / "output" / "message").read_text()


def test_an_altered_channel_is_refused_before_the_step_starts(tmp_path: Path):
    files = {"rows.arrow": {"sha256": "0" * 64, "size": 4}}
    base = processing_folder(tmp_path, channels={"reconciled": files}, step="prepare")
    (base / "processing" / "input" / "reconciled").mkdir()
    (base / "processing" / "input" / "reconciled" / "rows.arrow").write_bytes(b"evil")
    assert run_entrypoint(base, "prepare").returncode == 4
    failure = (base / "output" / "message").read_text()
    assert failure.startswith("IntegrityError: reconciled/rows.arrow has changed since it was committed")


@pytest.mark.parametrize("arguments", [("train",), ("reconcile",)])
def test_a_process_that_is_no_job_says_which_command_to_use(tmp_path: Path, arguments: tuple[str, ...]):
    done = run_entrypoint(tmp_path, *arguments)
    assert done.returncode == 1
    assert "this is not a job that mlpipe prepared" in done.stdout
    assert "mlpipe run settings.ini" in done.stdout


def test_the_results_of_equal_jobs_are_equal_bytes(tmp_path: Path):
    manifests = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        base = processing_folder(tmp_path / name)
        assert run_entrypoint(base, "reconcile").returncode == 0
        manifests.append(json.loads((base / "processing" / "output" / "result" / "manifest.json").read_text()))
    assert manifests[0] == manifests[1]


def epochs_of(base: Path) -> int:
    return len((base / "model" / "history.jsonl").read_text().splitlines())


def test_a_training_job_takes_its_hyperparameters_as_text_and_leaves_a_model(tmp_path: Path):
    service = {"sagemaker_job_name": "algo", "sagemaker_region": "eu-central-1"}
    base = training_folder(tmp_path, {"epochs": "2", "learning_rate": "0.1", **service})
    done = run_entrypoint(base, "train")
    assert done.returncode == 0, done.stdout + done.stderr
    assert epochs_of(base) == 2
    files = parse_manifest((base / "model" / "manifest.json").read_bytes(), "manifest")
    assert {"model.pt", "state_dict.safetensors", "signature.json", "metrics.json"} <= set(files)
    assert not (base / "output" / "failure").exists()


def test_a_training_job_that_fails_says_why_where_the_service_looks(tmp_path: Path):
    base = training_folder(tmp_path, {"epocks": "2"})
    assert run_entrypoint(base, "train").returncode == 2
    failure = (base / "output" / "failure").read_text()
    assert failure.startswith("SettingsError: ")
    assert "epocks" in failure.split("Traceback")[0]
    assert not (base / "output" / "message").exists()


def test_a_training_job_that_the_service_stops_leaves_a_checkpoint_and_says_so(tmp_path: Path):
    base = training_folder(tmp_path, {"epochs": "10000"})
    environment = {**os.environ, "SAGEMAKER_BASE_DIR": str(base), "HF_HOME": str(base / "hf")}
    command = [sys.executable, "-m", "mlpipe.jobs", "train"]
    with subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL) as job:
        while not (base / "checkpoints").exists() and job.poll() is None:
            time.sleep(0.1)
        job.send_signal(signal.SIGTERM)
        assert job.wait() == 1
    failure = (base / "output" / "failure").read_text()
    assert failure.startswith("JobError: the job was stopped before it had done its work\n")
    assert list((base / "checkpoints").iterdir())


FORKED = """
import atexit, os, sys, threading, time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from mlpipe.jobs.__main__ import exit_forked

def write(name):
    time.sleep(0.5)
    Path(name).write_text(name)

if pid := os.fork():
    sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
pool = ThreadPoolExecutor(1)
"""


def run_forked(folder: Path, *lines: str) -> subprocess.CompletedProcess[str]:
    """What a process ends with that ends as a forked one of its own does, which runs these lines."""
    code = FORKED + "\n".join(lines)
    return subprocess.run([sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, check=False)


def test_a_forked_process_ends_after_its_threads_and_pools_and_then_its_exit_hooks(tmp_path: Path):
    done = run_forked(
        tmp_path,
        "atexit.register(lambda: print(sorted(os.listdir()), end=''))",
        "for name in ('pooled', 'queued'): pool.submit(write, name)",
        "threading.Thread(target=write, args=('threaded',)).start()",
        "exit_forked(3)",
    )
    assert done.returncode == 3, done.stderr
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {
        name: name for name in ("pooled", "queued", "threaded")
    }
    assert done.stdout == "['pooled', 'queued', 'threaded']"


def test_a_forked_process_ends_with_its_code_even_where_its_output_is_closed(tmp_path: Path):
    done = run_forked(tmp_path, "atexit.register(write, 'hooked')", "sys.stdout.close()", "exit_forked(3)")
    assert done.returncode == 3, done.stderr
    assert (tmp_path / "hooked").exists()


def test_a_forked_process_whose_threads_go_on_ends_after_the_time_that_it_has(tmp_path: Path):
    goes_on = "threading.Thread(target=lambda: (time.sleep(60), os._exit(1))).start()"
    done = run_forked(tmp_path, goes_on, "exit_forked(3, 0.1)")
    assert done.returncode == 3, done.stderr
