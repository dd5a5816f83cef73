"""The whole experiment with its storage in a bucket: jobs run on this machine, and nothing of it stays here."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path

import pytest
from e2e.bucket import check_units, contents
from e2e.project import Project, error_of

from mlpipe.storage.s3 import S3Storage

SECRET = "wJalrXUtnFEMI-K7MDENG-bPxRfiCYEXAMPLEKEY"


@pytest.fixture
def scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the commands put temporary files."""
    folder = tmp_path / "scratch"
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    return folder


@pytest.fixture
def uri(bucket: str, project: Project) -> str:
    """The storage of the project."""
    uri = f"s3://{bucket}/team"
    project.edit("settings.ini", "SEED = 7", f"SEED = 7\nSTORAGE = {uri}")
    return uri


def test_a_run_in_a_bucket_is_complete_shown_and_verified(
    project: Project, uri: str, bucket: str, s3_endpoint: str, scratch: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    done = project.mlpipe("run", "settings.ini")
    assert f"run 1 (committed): {uri}/tiny/runs/1" in done.stdout
    assert not (project.folder / "storage").exists()
    assert list(scratch.glob("mlpipe-*")) == []

    found = contents(bucket, s3_endpoint)
    run = "team/tiny/runs/1"
    check_units(found, run)
    assert {re.sub(r"-[0-9a-f]+\.log", "", key.rpartition("/")[2]) for key in found if "/logs/" in key} == {
        "reconcile",
        "prepare",
        "train-small",
        "train-large",
        "infer",
    }
    assert not [key for key in found if "/attempts/" in key or "/checkpoints/" in key or ".p" in key.rpartition("/")[0]]
    assert not [key for key, content in found.items() if SECRET.encode() in content]

    assert json.loads(project.mlpipe("runs", "--json").stdout)[0]["status"] == "committed"
    shown = json.loads(project.mlpipe("show", "1", "--json").stdout)
    assert set(shown["models"]) == {"small", "large"}

    assert f"report: {uri}/tiny/runs/1/report.html" in done.stdout
    assert found[f"{run}/report.html"].startswith(b"<!doctype html>")
    assert "is no file of this machine" in error_of(project.mlpipe("report", "1", "--open", code=2))
    verified = project.mlpipe("infer", "--run-num", "1")
    assert "run 1 verified: statistics.json and predictions.parquet of small, large" in verified.stdout
    again = contents(bucket, s3_endpoint)
    assert {key: again[key] for key in found} == found

    prepared = project.mlpipe("prepare")
    assert prepared.stderr.count("is reused: nothing that it is made from has changed") == 2


def test_a_training_that_was_killed_goes_on_from_its_checkpoint_in_the_bucket(
    project: Project, uri: str, scratch: Path
):
    (project.folder / "slow").touch()
    command = ("train", "--set", "experiment.model_names=large", "--set", "training.checkpoint_minutes=0.001")
    command += ("--set", "tracking.tracker=tensorboard")
    process = project.start(*command)
    storage = S3Storage(uri)
    checkpoints = "tiny/runs/1/checkpoints/large"
    while not any(name.endswith("manifest.json") for name in storage.files(checkpoints)):
        assert process.poll() is None
        time.sleep(0.05)
    process.kill()
    process.communicate()
    (project.folder / "slow").unlink()
    done = project.mlpipe(*command)
    assert "run 1 is resumed" in done.stderr
    assert re.search(r"^train-large: resumed from the checkpoint at step \d+: in epoch \d", done.stderr, re.MULTILINE)
    assert storage.files(checkpoints) == {}
    assert "model.pt" in storage.files("tiny/runs/1/models/large")
    assert any("tfevents" in name for name in storage.files("tiny/runs/1/logs/output_data/large"))


def test_a_failed_job_names_its_log_in_the_bucket(project: Project, uri: str):
    message = error_of(project.mlpipe("run", "--set", "user.csv=nowhere.csv", code=3))
    named = re.search(rf"log: {uri}/(tiny/data/logs/reconcile-\w+\.log)", message)
    assert named
    assert b"FileNotFoundError" in S3Storage(uri).read(named[1])


def test_a_bucket_that_does_not_exist_ends_the_command_with_its_name(project: Project, uri: str, bucket: str):
    done = project.mlpipe("run", "--set", f"experiment.storage=s3://{bucket}-other/team", code=4)
    message = error_of(done)
    assert f"s3://{bucket}-other/team" in message
    assert "NoSuchBucket" in message
    assert "create the bucket, or correct [EXPERIMENT] STORAGE" in message


def test_without_boto3_the_extra_is_named(project: Project, uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "none").mkdir()
    (tmp_path / "none" / "sitecustomize.py").write_text("import sys\nsys.modules['boto3'] = None\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "none"), prepend=":")
    message = error_of(project.mlpipe("runs", code=1))
    assert f"[EXPERIMENT] STORAGE = {uri} takes the package boto3" in message
    assert "pip install -e '.[s3]'" in message
