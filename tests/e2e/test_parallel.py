"""Several models that train side by side, where slots allow it."""

from __future__ import annotations

import json
import time
from pathlib import Path

from e2e.project import error_of, make_project


def test_two_models_train_side_by_side_and_give_what_they_give_one_after_the_other(finished, tmp_path: Path):
    project = make_project(tmp_path / "project")
    (project.folder / "meet").touch()  # each model waits in training until the other one trains
    done = project.mlpipe("run", "--set", "local.max_parallel_jobs=2")
    assert "run 1 (committed)" in done.stdout
    record = json.loads((project.run / "run.json").read_text())
    assert sorted(job["name"] for job in record["jobs"]) == ["infer", "train-large", "train-small"]
    for model in ("small", "large"):
        weights = (project.run / "models" / model / "state_dict.safetensors").read_bytes()
        assert weights == (finished[0].run / "models" / model / "state_dict.safetensors").read_bytes()


def test_an_interrupted_run_ends_every_job_that_was_running(tmp_path: Path):
    project = make_project(tmp_path / "project")
    for model in ("small", "large"):
        (project.folder / f"wait-{model}").touch()
    process = project.start("run", "--set", "local.max_parallel_jobs=2")
    attempts = project.run / "attempts"
    project.interrupt_when(process, lambda: len(list(attempts.glob("train-*/input"))) == 2)
    _, stderr = process.communicate()
    assert process.returncode == 130, stderr
    assert "interrupted; every job was ended" in stderr
    assert json.loads((project.run / "state.json").read_text())["status"] == "interrupted"
    for model in ("small", "large"):
        (project.folder / f"wait-{model}").unlink()
    assert "run 1 (committed)" in project.mlpipe("run", "--set", "local.max_parallel_jobs=2").stdout


def test_one_model_fails_while_the_other_one_trains(tmp_path: Path):
    project = make_project(tmp_path / "project")
    (project.folder / "fail-small").touch()
    done = project.mlpipe("run", "--set", "local.max_parallel_jobs=2", code=5)
    assert "run 1: small failed, the other models are done" in error_of(done)
    (project.folder / "fail-small").unlink()
    started = time.time()
    assert "run 1 (committed)" in project.mlpipe("run").stdout
    assert (project.run / "models" / "large" / "model.pt").stat().st_mtime < started
