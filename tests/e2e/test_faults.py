"""What goes wrong ends in one clear message and its exit code, and everything that was there before is still there."""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
import sys
import time

import pytest
from e2e.project import Finished, Project, error_of, hashes

HANGING = """
import time

def reconcile(settings):
    time.sleep(600)

def load_processor(model_name, settings): ...
def encode(examples, processor, model_name, settings): ...
def load_model(model_name, id2label, settings): ...
def ordered_input_keys(model_name, settings): ...
"""
"""Functions of which the first one hangs; they import nothing that takes a part of the time that a job has."""


def test_one_failed_model_leaves_the_others_and_the_same_command_makes_up_for_it(project: Project):
    project.edit("settings.ini", "small, large", "small, broken, large")
    (project.folder / "fail-broken").touch()
    first = project.mlpipe("run", code=5)
    assert "run 1: broken failed, the other models are done" in error_of(first)
    assert "broken: failed" in first.stdout
    assert re.search(
        r"load_model\(\) failed at functions.py:\d+: RuntimeError: there is a file fail-broken", first.stderr
    )
    assert {entry["model_name"] for entry in json.loads((project.run / "comparison.json").read_text())["models"]} == {
        "small",
        "large",
    }
    before = hashes(project.run / "models") | hashes(project.run / "inference")
    (project.folder / "fail-broken").unlink()
    second = project.mlpipe("run")
    assert "run 1 is resumed" in second.stderr
    assert re.findall(r"^(\S+): started", second.stderr, re.MULTILINE) == ["train-broken", "infer"]
    assert "run 1 (committed)" in second.stdout
    after = hashes(project.run / "models") | hashes(project.run / "inference")
    assert before.items() <= after.items()


def test_a_model_that_no_export_reproduces_is_refused(project: Project):
    done = project.mlpipe("run", "--set", "experiment.model_names=branching", code=1)
    assert "branching" in error_of(done)
    assert "input_ids" in done.stderr
    assert not (project.run / "models" / "branching").exists()


def test_a_function_that_hangs_is_ended_and_named(project: Project):
    (project.folder / "functions.py").write_text(HANGING)
    done = project.mlpipe("run", "--set", "local.max_runtime=3", code=3)
    message = error_of(done)
    assert re.search(r"reconcile\(\) was still running at functions.py:\d+", message)
    assert "MAX_RUNTIME" in message
    assert re.search(r"reconcile-\w+\.log", message)


def test_a_function_that_returns_nothing_is_named(project: Project):
    message = error_of(project.mlpipe("prepare", "--set", "user.return_nothing=encode", code=3))
    assert "encode() returned None; a mapping of lists is expected" in message
    assert "287 rows (ids " in message


def test_a_function_that_raises_is_named_with_its_line(project: Project):
    message = error_of(project.mlpipe("run", "--set", "user.csv=nowhere.csv", code=3))
    assert re.search(r"reconcile\(\) failed at functions.py:\d+: FileNotFoundError: .*nowhere.csv", message)


def test_a_missing_function_is_named_before_any_job_starts(project: Project):
    project.edit("functions.py", "def load_model(", "def load_the_model(")
    message = error_of(project.mlpipe("run", code=3))
    assert "functions.py: no function load_model(model_name, id2label, settings) is defined there" in message
    assert not (project.folder / "storage").exists()


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ("text,label\n", "no rows"),
        ("text,label\na b,x\nc d,x\n", "'x'"),
        ("text,label\na b,x\nc d,\n", "row 2"),
        ("text,label,id\na b,x,1\nc d,y,1\n", "row 2"),
        ("text,title\na b,x\nc d,y\n", "`label`"),
    ],
)
def test_unusable_data_is_named_by_row_and_column(project: Project, rows: str, expected: str):
    (project.folder / "texts.csv").write_text(rows)
    assert expected in error_of(project.mlpipe("reconcile", code=3))


def as_an_earlier_mlpipe_prepared_it(project: Project) -> None:
    """Make the prepared snapshot one whose data card names no majority, at the address that its inputs gave then."""
    (folder,) = (project.tree / "data" / "prepared").iterdir()
    card = json.loads((folder / "data_card.json").read_text())
    del card["majority"]
    (folder / "data_card.json").write_text(json.dumps(card))
    manifest = json.loads((folder / "manifest.json").read_text())
    content = (folder / "data_card.json").read_bytes()
    manifest["files"]["data_card.json"] = {"sha256": hashlib.sha256(content).hexdigest(), "size": len(content)}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    (folder / "_SUCCESS").write_text(hashlib.sha256((folder / "manifest.json").read_bytes()).hexdigest())
    folder.rename(folder.with_name("0" * 16))
    claim = project.run / "claim.json"
    claim.write_text(claim.read_text().replace(folder.name, "0" * 16))


def test_a_run_on_data_of_an_earlier_mlpipe_is_refused_before_anything_runs_and_started_anew(project: Project):
    small = ("--set", "experiment.model_names=small")
    project.mlpipe("train", *small)
    as_an_earlier_mlpipe_prepared_it(project)
    before = hashes(project.tree)
    for command in (("resume", "1"), ("infer", "--run-num", "1")):
        message = error_of(project.mlpipe(*command, code=2))
        assert "run 1 cannot be completed: an earlier mlpipe prepared its data" in message
        assert "`mlpipe run settings.ini --new`" in message
    assert hashes(project.tree) == before
    assert "run 2 would be new" in project.mlpipe("run", "--dry-run", *small).stdout


def test_a_committed_run_on_data_of_an_earlier_mlpipe_is_read_and_verified_as_ever(finished_copy: Project):
    as_an_earlier_mlpipe_prepared_it(finished_copy)
    for command in (("show", "1"), ("compare", "1"), ("report", "1"), ("infer", "--run-num", "1")):
        finished_copy.mlpipe(*command)


def test_a_run_that_does_not_exist_is_named_with_those_that_do(finished: Finished):
    for command in (("show", "9"), ("infer", "--run-num", "9")):
        message = error_of(finished[0].mlpipe(*command, code=2))
        assert "experiment tiny has no run 9" in message
        assert "its runs are 1" in message


@pytest.mark.parametrize(
    ("name", "command"),
    [
        ("models/small/model.pt", ("infer", "--run-num", "1")),
        ("inference/large/predictions.parquet", ("infer", "--run-num", "1")),
        ("comparison.json", ("show", "1")),
        ("models/small/metrics.json", ("show", "1")),
        ("models/large/manifest.json", ("infer", "--run-num", "1")),
    ],
)
def test_an_altered_file_is_named_and_nothing_else_is_touched(
    finished_copy: Project, name: str, command: tuple[str, ...]
):
    path = finished_copy.run / name
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    before = hashes(finished_copy.run / "models") | hashes(finished_copy.run / "inference")
    message = error_of(finished_copy.mlpipe(*command, code=4))
    assert name.removeprefix("models/") in message
    assert "has changed since it was committed" in message
    assert before == hashes(finished_copy.run / "models") | hashes(finished_copy.run / "inference")


def test_ctrl_c_ends_the_jobs_and_the_same_command_continues(project: Project):
    (project.folder / "wait-large").touch()
    process = project.start("train")
    published = project.run / "models" / "small" / "_SUCCESS"
    project.interrupt_when(
        process, lambda: published.exists() and bool(list(project.run.glob("logs/train-large-*.log")))
    )
    _, stderr = process.communicate()
    assert process.returncode == 130
    assert "the same command, without --new, continues where it was stopped" in stderr
    assert json.loads((project.run / "state.json").read_text())["status"] == "interrupted"
    (project.folder / "wait-large").unlink()
    done = project.mlpipe("train")
    assert "run 1 is resumed" in done.stderr
    assert "train small: done before" in done.stderr


def test_a_training_that_was_killed_goes_on_from_its_checkpoint(project: Project):
    (project.folder / "slow").touch()
    command = ("train", "--set", "experiment.model_names=large", "--set", "training.checkpoint_minutes=0.001")
    process = project.start(*command)
    checkpoints = project.run / "checkpoints"
    while not list(checkpoints.glob("large/step-*")):
        assert process.poll() is None
        time.sleep(0.05)
    process.kill()
    process.communicate()
    (project.folder / "slow").unlink()
    assert json.loads(project.mlpipe("runs", "--json").stdout)[0]["status"] == "abandoned"
    done = project.mlpipe(*command)
    assert "run 1 is resumed" in done.stderr
    assert re.search(r"^train-large: resumed from the checkpoint at step \d+: in epoch \d", done.stderr, re.MULTILINE)
    assert len((project.run / "models" / "large" / "history.jsonl").read_text().splitlines()) == 2
    assert list(checkpoints.iterdir()) == []


SETTINGS_ERRORS = {
    "empty": ("", ["settings.ini is empty", "settings.ini.example"]),
    "misspelt": ("[EXPERIMENT]\nEXPERIMENT_NAME = a\nMODEL_NAMES = m\nSED = 3\n", ["settings.ini:4", "SED", "SEED"]),
    "bad number": (
        "[EXPERIMENT]\nEXPERIMENT_NAME = a\nMODEL_NAMES = m\n[HYPERPARAMETERS]\nEPOCHS = many\n",
        ["settings.ini:5", "EPOCHS", "many"],
    ),
    "slash in a name": (
        "[EXPERIMENT]\nEXPERIMENT_NAME = a\nMODEL_NAMES = org/model\n",
        ["settings.ini:3", "org/model"],
    ),
}


@pytest.mark.parametrize("name", SETTINGS_ERRORS)
def test_wrong_settings_are_answered_with_file_line_and_key(project: Project, name: str):
    text, expected = SETTINGS_ERRORS[name]
    (project.folder / "settings.ini").write_text(text)
    message = error_of(project.mlpipe("run", code=2))
    for part in expected:
        assert part in message
    assert not (project.folder / "storage").exists()


def test_a_missing_settings_file_is_named(project: Project):
    assert "nowhere.ini" in error_of(project.mlpipe("run", "nowhere.ini", code=2))


@pytest.mark.parametrize("arguments", [["--help"], ["run", "--set", "data.nonsense=1"], ["runs"]])
def test_help_settings_errors_and_lists_import_nothing_heavy(project: Project, arguments: list[str]):
    command = [sys.executable, "-X", "importtime", "-m", "mlpipe", *arguments]
    done = subprocess.run(command, cwd=project.folder, capture_output=True, text=True, check=False)
    imported = set(re.findall(r"\|\s+(\w+)", done.stderr))
    assert "typer" in imported
    assert imported.isdisjoint({"torch", "transformers", "datasets", "boto3", "pandas", "matplotlib"})


def test_debug_shows_the_traceback(project: Project):
    done = project.mlpipe("--debug", "run", "nowhere.ini", code=2)
    assert "Traceback" in done.stderr
