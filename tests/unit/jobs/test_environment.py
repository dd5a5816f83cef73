"""How a job tells by what the platform provides which kind of job it is."""

from __future__ import annotations

from pathlib import Path

import pytest
from job_folder import processing_folder, training_folder

from mlpipe.errors import JobError
from mlpipe.jobs.environment import job_folders, read_context

SERVICE = {"sagemaker_job_name": "algo", "sagemaker_region": "eu-central-1"}


def test_the_argument_train_makes_a_training_job(tmp_path: Path):
    base = training_folder(tmp_path, {"epochs": "7", **SERVICE})
    folders = job_folders(["train"], {"SAGEMAKER_BASE_DIR": str(base)})
    context = read_context(folders, {"TRAINING_JOB_NAME": "alone"})
    assert (context.step, context.model_name) == ("train", "m")
    assert context.settings.hyperparameters["m"].epochs == 7
    assert (context.output, context.checkpoints) == (base / "model", base / "checkpoints")
    assert folders.failure == base / "output" / "failure"


@pytest.mark.parametrize("arguments", [["reconcile"], []])
def test_anything_else_makes_a_processing_job(tmp_path: Path, arguments: list[str]):
    base = processing_folder(tmp_path)
    folders = job_folders(arguments, {"SAGEMAKER_BASE_DIR": str(base)})
    context = read_context(folders, {})
    assert (context.step, context.model_name) == ("reconcile", None)
    assert context.output == base / "processing" / "output" / "result"
    assert folders.failure == base / "output" / "message"


def test_trials_of_a_tuning_job_do_not_meet_in_the_checkpoints_that_they_share(tmp_path: Path):
    base = training_folder(tmp_path, {"epochs": "7", "_tuning_objective_metric": "f1", **SERVICE})
    folders = job_folders(["train"], {"SAGEMAKER_BASE_DIR": str(base)})
    trials = [read_context(folders, {"TRAINING_JOB_NAME": f"tuning-{n}"}) for n in (1, 2)]
    assert [trial.checkpoints for trial in trials] == [base / "checkpoints" / f"tuning-{n}" for n in (1, 2)]
    assert trials[0].settings.hyperparameters["m"].epochs == 7


@pytest.mark.parametrize(("marks", "defers"), [({}, False), ({"_export_is_deferred": "yes"}, True)])
def test_a_trial_is_told_to_defer_its_export_by_a_mark_that_is_no_hyperparameter(
    tmp_path: Path, marks: dict[str, str], defers: bool
):
    base = training_folder(tmp_path, {"epochs": "7", **marks, **SERVICE})
    context = read_context(job_folders(["train"], {"SAGEMAKER_BASE_DIR": str(base)}), {})
    assert context.defers_export is defers
    assert context.settings.hyperparameters["m"].epochs == 7


@pytest.mark.parametrize("environment", [{}, {"TRAINING_JOB_NAME": ""}])
def test_a_trial_without_a_name_is_refused(tmp_path: Path, environment: dict[str, str]):
    base = training_folder(tmp_path, {"_tuning_objective_metric": "f1"})
    with pytest.raises(JobError, match="has no TRAINING_JOB_NAME"):
        read_context(job_folders(["train"], {"SAGEMAKER_BASE_DIR": str(base)}), environment)
