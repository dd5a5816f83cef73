"""Tuning of a small model: on this machine, killed and resumed, and in SageMaker."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import pytest
from aws.fake import FakeSageMaker
from aws.faults import NoCapacity
from e2e.bucket import contents
from e2e.cloud import to_sagemaker
from e2e.project import Project, error_of, lines_of

TUNABLES = """\
LEARNING_RATE = 0.001 -> 0.1 log
BATCH_SIZE = 16, 32
"""


@pytest.fixture
def tuned(project: Project) -> Project:
    """A project with one model that is to be tuned."""
    project.edit("settings.ini", "MODEL_NAMES = small, large", "MODEL_NAMES = small")
    project.edit(
        "settings.ini",
        "\n[USER_HYPERPARAMETERS.large]\nWIDTH = 16\n",
        "\n[TUNING]\nMAX_JOBS = 12\nMAX_PARALLEL_JOBS = 2\n",
    )
    project.edit("settings.ini", "LEARNING_RATE = 0.05\n", TUNABLES)
    return project


def trials_of(project: Project, run: int = 1) -> list[dict[str, Any]]:
    path = project.tree / "runs" / str(run) / "tuning" / "small" / "trials.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_a_killed_tuning_goes_on_and_publishes_the_model_of_the_best_trial(tuned: Project):
    process = tuned.start("tune", "settings.ini")
    lines_of(process, ", 3 of 12: ")
    process.kill()
    process.communicate()
    finished = {path.name: path.read_bytes() for path in tuned.tree.glob("runs/1/attempts/tune-small/finished/*.json")}
    assert len(finished) >= 3

    done = tuned.mlpipe("tune", "settings.ini")
    assert f"tune-small: {len(finished)} trials were done before" in done.stderr
    assert "run 1 (committed)" in done.stdout
    trials = trials_of(tuned)
    assert [trial["number"] for trial in trials] == sorted(trial["number"] for trial in trials)
    assert len(trials) == 12
    before = [json.loads(content) for content in finished.values()]
    assert all(trial in trials for trial in before), "no finished trial is repeated or changed"
    assert len({json.dumps(trial["hyperparameters"]) for trial in trials}) == 12

    run = tuned.run
    best = json.loads((run / "tuning" / "small" / "best.json").read_text())
    completed = [trial for trial in trials if trial["state"] == "Completed"]
    assert best["objective"] == max(trial["objective"] for trial in completed)
    manifest = (run / "models" / "small" / "manifest.json").read_bytes()
    assert hashlib.sha256(manifest).hexdigest() == best["model_manifest_sha256"]
    assert {path.name for path in (run / "tuning" / "small" / "plots").iterdir()} >= {
        "history.png",
        "learning_curves.png",
    }
    assert not (run / "attempts" / "tune-small").exists()
    assert not list((run / "checkpoints").glob("*"))
    record = json.loads((run / "run.json").read_text())
    assert set(record["units"]) == {"models/small", "inference/small", "tuning/small", "yardstick"}
    assert json.loads(tuned.mlpipe("show", "1", "--json").stdout)["models"]["small"]["tuning"] == best

    again = tuned.mlpipe("train", "--from-best", "1")
    assert "run 2: small trained" in again.stdout
    rate = f"LEARNING_RATE = {best['hyperparameters']['learning_rate']}"
    assert rate in again.stderr
    assert rate in tuned.mlpipe("show", "1").stdout
    resolved = json.loads((tuned.tree / "runs" / "2" / "settings.resolved.json").read_text())
    assert str(resolved["hyperparameters"]["small"]["learning_rate"]) == best["hyperparameters"]["learning_rate"]
    for name in ("model.pt", "state_dict.safetensors", "metrics.json", "parity.json"):
        made_again = (tuned.tree / "runs/2/models/small" / name).read_bytes()
        assert made_again == (run / "models/small" / name).read_bytes(), f"{name} of the best trial can be made again"


def test_training_refuses_what_is_to_be_tuned_and_tuning_what_is_not(tuned: Project):
    error = error_of(tuned.mlpipe("train", code=2))
    assert "LEARNING_RATE = 0.001 -> 0.1 log; BATCH_SIZE = 16, 32" in error
    assert "`mlpipe tune` searches for the best" in error
    single = ["--set", "hyperparameters.learning_rate=0.1", "--set", "hyperparameters.batch_size=16"]
    assert "--from-best 1: no hyperparameter" in error_of(tuned.mlpipe("train", "--from-best", "1", *single, code=2))
    nothing = tuned.mlpipe("tune", *single, code=2)
    assert "no hyperparameter is to be tuned" in error_of(nothing)


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        (
            ["tuning.strategy=Grid"],
            "STRATEGY = Grid tries every combination, and LEARNING_RATE of small is an interval",
        ),
        (
            ["tuning.strategy=Grid", "hyperparameters.learning_rate=1e-3, 1e-2", "tuning.max_jobs=3"],
            "small has 4 combinations, and MAX_JOBS = 3",
        ),
        (["tuning.strategy=Hyperband", "hyperparameters.epochs=1 -> 4"], "Hyperband deals out the epochs itself"),
        (["tuning.metric_regex=f1=(.*"], r"METRIC_REGEX = f1=(.*: missing"),
        (["tuning.metric_regex=loss=(.*)"], "it does not find 0.5 in 'mlpipe-objective: f1=0.500000'"),
        (["tuning.warm_start_run=7"], "has no run 7"),
    ],
)
def test_what_no_trial_can_be_made_of_is_refused_before_anything_starts(
    tuned: Project, options: list[str], problem: str
):
    done = tuned.mlpipe("tune", *(f"--set={option}" for option in options), code=2)
    assert problem in error_of(done)
    assert not tuned.tree.exists()


def test_a_trial_that_fails_is_recorded_and_too_many_in_a_row_end_the_tuning(tuned: Project):
    (tuned.folder / "fail-small").touch()
    done = tuned.mlpipe("run", "--set", "tuning.max_jobs=6", "--set", "tuning.max_failures=2", code=3)
    assert "trials in a row have failed" in error_of(done)
    assert "there is nothing to report" in error_of(tuned.mlpipe("report", "1", code=2))
    (tuned.folder / "fail-small").unlink()
    plan = json.loads(tuned.mlpipe("run", "--dry-run", "--json", "--set", "tuning.max_jobs=6").stdout)["tasks"]
    assert "tune learning_rate, batch_size: 6 trials, 2 at a time" in [task["decision"] for task in plan]


def test_every_combination_of_a_grid_is_tried_once(tuned: Project):
    options = ["tuning.strategy=Grid", "hyperparameters.learning_rate=0.01, 0.1", "tuning.early_stopping=Off"]
    tuned.mlpipe("run", *(f"--set={option}" for option in options))
    tried = [trial["hyperparameters"] for trial in trials_of(tuned)]
    assert sorted((each["learning_rate"], each["batch_size"]) for each in tried) == [
        ("0.01", "16"),
        ("0.01", "32"),
        ("0.1", "16"),
        ("0.1", "32"),
    ]


def test_the_same_settings_tune_in_sagemaker(tuned: Project, fake: FakeSageMaker, bucket: str, s3_endpoint: str):
    to_sagemaker(tuned, f"s3://{bucket}/team")
    tuned.edit("settings.ini", "MAX_JOBS = 12", "MAX_JOBS = 3\nSEED = 5")
    fake.script(NoCapacity(job="*-002-*"))
    done = tuned.mlpipe("run", "--set", "sagemaker.spot=yes")
    assert ", 3 of 3: " in done.stderr
    assert "run 1 (committed)" in done.stdout
    (body,) = fake.bodies("CreateHyperParameterTuningJob")
    assert body["HyperParameterTuningJobConfig"]["RandomSeed"] == 5
    found = contents(bucket, s3_endpoint)
    run = "team/tiny/runs/1"
    best = json.loads(found[f"{run}/tuning/small/best.json"])
    assert hashlib.sha256(found[f"{run}/models/small/manifest.json"]).hexdigest() == best["model_manifest_sha256"]
    assert best["tuning_job"] == body["HyperParameterTuningJobName"]
    trials = [json.loads(line) for line in found[f"{run}/tuning/small/trials.jsonl"].decode().splitlines()]
    assert len(trials) == 3
    billed = [trial["machine"]["billable_seconds"] for trial in trials]
    assert [seconds > 0 for seconds in billed] == [True, False, True], "the second has found no machine"
    jobs = json.loads(found[f"{run}/run.json"])["jobs"]
    assert [job["billable_seconds"] for job in jobs if job["name"] == "tune-small"] == [sum(billed)]
    assert best["objective"] == max(trial["objective"] for trial in trials if trial["state"] == "Completed")
    assert not [key for key in found if "/attempts/" in key or "/checkpoints/" in key]
    logs = [key for key in found if key.startswith(f"{run}/logs/tune-small-") and key.endswith("-001.log")]
    assert len(logs) == 1
    printed = tuned.mlpipe("logs", "1", "--job", "tune-small").stdout.splitlines()
    assert len([line for line in printed if line.startswith("tune-small: epoch 1: ")]) == 2, "of two trials that ran"
    assert "infer: " in tuned.mlpipe("logs", "1").stdout
