"""Trials on this machine: each keeps its own result, however many run side by side, and none more than asked for."""

from __future__ import annotations

import json
import sys
import textwrap
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from unit.tuning.test_sampling import spec as tuning_spec

from mlpipe.backends import LocalBackend
from mlpipe.backends.local.launcher import RunningJob, SubprocessLauncher
from mlpipe.contract import default_regex
from mlpipe.errors import ExportError, JobError
from mlpipe.manifest import digest
from mlpipe.specs import Channel, JobKind, JobSpec, TrialRecord, TrialState
from mlpipe.storage import LocalStorage
from mlpipe.tuning.progress import best_of

PRELUDE = """
import json, os, pathlib, random, sys, time
base = pathlib.Path(os.environ["SAGEMAKER_BASE_DIR"])
given = json.loads((base / "input/config/hyperparameters.json").read_text())
number = int(os.environ["TRAINING_JOB_NAME"][-3:])
x = float(given["x"])
final = base / "checkpoints" / "final"
def report(value):
    print(f"mlpipe-objective: f1={value:.6f}", flush=True)
def finish(weights=given["x"]):
    files = {"x": given["x"], "state_dict.safetensors": weights}
    if "_export_is_deferred" in given:
        final.mkdir()
        (final / "state").touch()
    else:
        files["model.pt"] = "exported"
    for name, content in files.items():
        (base / "model" / name).write_text(content)
    records = {name: {"sha256": content, "size": 1} for name, content in files.items()}
    (base / "model" / "manifest.json").write_text(json.dumps({"files": records}))
"""


class ScriptLauncher:
    """Starts a script in place of a training."""

    def __init__(self, script: str) -> None:
        self._script = PRELUDE + textwrap.dedent(script)

    def launch(self, argv: Sequence[str], environment: Mapping[str, str], folder: Path, log: Path) -> RunningJob:
        return SubprocessLauncher().launch([sys.executable, "-c", self._script], environment, folder, log)


class Notes:
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.texts: list[str] = []

    def note(self, text: str) -> None:
        self.texts.append(text)


Tune = Callable[..., tuple[tuple[TrialRecord, ...], list[str]]]


@pytest.fixture
def storage(tmp_path: Path) -> LocalStorage:
    return LocalStorage(tmp_path / "storage")


@pytest.fixture
def tune(storage: LocalStorage, tmp_path: Path) -> Tune:
    """Run a tuning whose trials are this script; returns its trials and what was said."""

    def run(script: str, **changes: Any) -> tuple[tuple[TrialRecord, ...], list[str]]:
        given = {"strategy": "Random", "regex": default_regex("f1"), "max_jobs": 6, **changes}
        tuning = tuning_spec({"x": "0.0 -> 1.0"}, **given)
        job = JobSpec(
            name="tune-m",
            kind=JobKind.TUNING,
            step="train",
            attempt="runs/1/attempts/tune-m",
            channels=(Channel("job", "runs/1/attempts/tune-m/job_channel"),),
            arguments={},
            hyperparameters={"epochs": 3},
            threads=1,
            max_runtime_s=60,
            log="runs/1/logs/tune-m.log",
            tuning=tuning,
        )
        notes = Notes()
        backend = backends.setdefault(
            script, LocalBackend(storage, tmp_path, tuning.max_parallel_jobs, ScriptLauncher(script))
        )
        return backend.tune(job, job.attempt, notes), notes.texts

    backends: dict[str, LocalBackend] = {}
    return run


def test_every_trial_keeps_its_own_result_however_many_run_side_by_side(tune: Tune, storage: LocalStorage):
    script = """
    time.sleep(random.random() / 2)
    report(x)
    finish()
    """
    trials, _ = tune(script, max_jobs=16, max_parallel_jobs=4)
    assert [trial.number for trial in trials] == list(range(1, 17))
    for trial in trials:
        assert trial.state is TrialState.COMPLETED
        assert storage.read(f"{trial.output}/x").decode() == trial.hyperparameters["x"]
        assert trial.objective == pytest.approx(float(trial.hyperparameters["x"]), abs=1e-6)
    assert len({trial.manifest_sha256 for trial in trials}) == 16
    best = best_of(trials, maximizes=True)
    assert best is not None
    assert float(storage.read(f"{best.output}/x")) == max(float(trial.hyperparameters["x"]) for trial in trials)


def exported(trials: Sequence[TrialRecord], storage: LocalStorage) -> list[int]:
    return [trial.number for trial in trials if trial.output and storage.exists(f"{trial.output}/model.pt")]


def checkpoints(storage: LocalStorage) -> list[str]:
    trials = "runs/1/attempts/tune-m/trials"
    return [name for name in storage.folders(trials) if storage.exists(f"{trials}/{name}/final_checkpoint/final/state")]


BEST_IS_4 = """
if final.exists():
    print("nothing is trained", flush=True)
report(0.9 if number == 4 else 0.5)
finish()
"""


def test_the_first_trial_shows_that_the_model_can_be_exported_and_then_only_the_best_is(
    tune: Tune, storage: LocalStorage
):
    trials, notes = tune(BEST_IS_4)
    assert exported(trials, storage) == [1, 4]
    best = trials[3]
    assert best.output == "runs/1/attempts/tune-m/trials/004-export/model"
    assert best.manifest_sha256 == digest(storage.read(f"{best.output}/manifest.json"))
    assert "tune-m: exporting the model of trial 4" in notes
    assert "nothing is trained" in storage.read("runs/1/logs/tune-m-004_export.log").decode()
    assert checkpoints(storage) == ["004"], "the others' checkpoints take room for nothing"
    again, _ = tune(BEST_IS_4)
    assert [replace(trial, machine={}) for trial in again] == [replace(trial, machine={}) for trial in trials]


def test_every_trial_exports_where_all_are_to_be_kept(tune: Tune, storage: LocalStorage):
    trials, _ = tune(BEST_IS_4, keeps_trials=True)
    assert exported(trials, storage) == [1, 2, 3, 4, 5, 6]


def test_an_export_that_fails_leaves_the_trials_to_the_next_command(tune: Tune, storage: LocalStorage, tmp_path: Path):
    script = """
    report(0.9 if number == 4 else 0.5)
    if final.exists() and not pathlib.Path("again").exists():
        raise SystemExit(7)
    finish()
    """
    with pytest.raises(JobError, match="job tune-m-004"):
        tune(script)
    (tmp_path / "again").touch()
    trials, notes = tune(script)
    assert notes[0] == "tune-m: 6 trials were done before"
    assert exported(trials, storage) == [1, 4]


def test_a_trial_whose_export_has_other_weights_has_failed_and_the_next_best_is_exported(
    tune: Tune, storage: LocalStorage
):
    script = """
    report(0.9 if number == 4 else 0.8 if number == 2 else 0.5)
    finish("others" if number == 4 and final.exists() else given["x"])
    """
    trials, notes = tune(script)
    assert [trial.number for trial in trials if trial.state is TrialState.FAILED] == [4]
    assert "the weights that were exported for tune-m-004 are not those" in trials[3].error
    assert exported(trials, storage) == [1, 2]
    assert any("trial 4 cannot be exported: " in note for note in notes)
    again, _ = tune(script)
    assert [trial.state for trial in again] == [trial.state for trial in trials], "it is not tried again"


def test_a_trial_whose_code_fails_in_the_export_leaves_its_place_to_the_next_best(tune: Tune, storage: LocalStorage):
    script = """
    report(0.9 if number == 4 else 0.5)
    if number == 4 and final.exists():
        (base / "output").mkdir(exist_ok=True)
        (base / "output" / "failure").write_text("UserFunctionError: forward() knows no such size")
        raise SystemExit(1)
    finish()
    """
    trials, _ = tune(script)
    assert [trial.number for trial in trials if trial.state is TrialState.FAILED] == [4]
    assert trials[3].error.startswith("job tune-m-004: forward() knows no such size")
    assert exported(trials, storage) == [1]


def test_exports_that_fail_in_a_row_end_it_as_trials_do(tune: Tune, storage: LocalStorage):
    script = """
    report(number / 10)
    finish("others" if number > 1 and "_export_is_deferred" not in given else given["x"])
    """
    for last in (5, 3):
        with pytest.raises(
            ExportError, match=rf"2 trials in a row have failed, .* exported for tune-m-00{last} are not"
        ):
            tune(script, max_failures=2)
    trials, notes = tune(script, max_failures=2)
    assert notes[1] == "tune-m: training again and exporting the model of trial 2"
    assert [trial.state for trial in trials] == [TrialState.COMPLETED, *[TrialState.FAILED] * 5]
    assert exported(trials, storage) == [1]


def test_a_tuning_that_has_ended_starts_no_other_trial_where_its_best_cannot_be_exported(tune: Tune):
    script = """
    report(0.9 if number == 3 else 0.5)
    finish("others" if final.exists() else given["x"])
    """
    with pytest.raises(ExportError, match="1 trials in a row have failed"):
        tune(script, target_value=0.8, max_failures=1)
    trials, _ = tune(script, target_value=0.8, max_failures=1)
    assert [trial.state for trial in trials] == [TrialState.COMPLETED, TrialState.COMPLETED, TrialState.FAILED]


def test_a_trial_that_was_stopped_leaves_no_checkpoint(tune: Tune, storage: LocalStorage):
    script = """
    import signal
    def save(*_):
        final.mkdir(exist_ok=True)
        (final / "state").touch()
        raise SystemExit(0)
    if number == 3:
        signal.signal(signal.SIGTERM, save)
        report(0.1)
        time.sleep(600)
    report(0.5)
    finish()
    """
    trials, _ = tune(script, max_jobs=4, stops_early=True)
    assert trials[2].state is TrialState.STOPPED
    assert checkpoints(storage) == []


def test_a_trial_that_falls_behind_is_stopped(tune: Tune):
    script = """
    if number == 3:
        report(0.1)
        time.sleep(600)
    report(0.5)
    report(0.6)
    finish()
    """
    trials, notes = tune(script, max_jobs=4, stops_early=True)
    assert [trial.state for trial in trials] == [
        TrialState.COMPLETED,
        TrialState.COMPLETED,
        TrialState.STOPPED,
        TrialState.COMPLETED,
    ]
    assert trials[2].curve == (0.1,)
    assert "trial 3, 3 of 4: 0.1000, stopped early after" in notes[2]


def test_failures_are_recorded_and_too_many_in_a_row_end_it(tune: Tune, storage: LocalStorage):
    script = """
    if number in (1, 3, 4):
        raise SystemExit(7)
    report(x)
    finish()
    """
    with pytest.raises(JobError, match="2 trials in a row have failed, the last one with: job tune-m-004"):
        tune(script, max_failures=2)
    found = [json.loads(storage.read(f"runs/1/attempts/tune-m/finished/{n}.json"))["state"] for n in range(1, 5)]
    assert found == ["Failed", "Completed", "Failed", "Failed"]


def test_a_tuning_that_ends_early_ends_its_own_trials_and_leaves_the_backend_to_others(tune: Tune, tmp_path: Path):
    script = """
    if number == 1:
        raise SystemExit(7)
    if not pathlib.Path("again").exists():
        time.sleep(600)
    report(x)
    finish()
    """
    with pytest.raises(JobError, match="1 trials in a row have failed"):
        tune(script, max_failures=1, max_parallel_jobs=2)
    (tmp_path / "again").touch()
    trials, _ = tune(script, max_failures=1, max_parallel_jobs=2)
    assert [trial.state for trial in trials] == [TrialState.FAILED, *[TrialState.COMPLETED] * 5]


def test_a_trial_without_an_objective_has_failed(tune: Tune):
    trials, _ = tune("finish()", max_jobs=2)
    assert [(trial.state, trial.error) for trial in trials] == [
        (TrialState.FAILED, "METRIC_REGEX found no objective in its log")
    ] * 2


@pytest.mark.parametrize(
    ("changes", "number"), [({"target_value": 0.0}, 1), ({"patience": 2, "maximizes": False}, 3), ({"max_jobs": 5}, 5)]
)
def test_no_trial_is_started_once_there_are_enough(tune: Tune, changes: dict[str, Any], number: int):
    script = """
    report(number)
    finish()
    """
    trials, _ = tune(script, **changes)
    assert len(trials) == number


def test_what_was_finished_is_not_repeated_and_what_was_not_is_done_again(
    tune: Tune, storage: LocalStorage, tmp_path: Path
):
    script = """
    if number == 3 and not pathlib.Path("again").exists():
        raise SystemExit(7)
    report(x)
    finish()
    """
    with pytest.raises(JobError):
        tune(script, max_jobs=5, max_failures=1)
    finished = "runs/1/attempts/tune-m/finished"
    before = {name: storage.read(f"{finished}/{name}") for name in storage.files(finished)}
    storage.write("runs/1/attempts/tune-m/trials/004/model/half", b"done")
    (tmp_path / "again").touch()
    again, notes = tune(script, max_jobs=5, max_failures=1)
    assert [trial.number for trial in again if trial.state is TrialState.FAILED] == [3]
    assert {name: storage.read(f"{finished}/{name}") for name in before} == before
    assert [trial.number for trial in again] == [1, 2, 3, 4, 5]
    assert notes[0] == "tune-m: 3 trials were done before"
    assert not storage.exists("runs/1/attempts/tune-m/trials/004/model/half")
