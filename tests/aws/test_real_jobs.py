"""mlpipe's own jobs in the fake's containers: training, tuning, two machines, and a processing job."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from aws.account import Account
from aws.conftest import MakeAccount
from aws.requests import channel, processing_request, training_request, tuning_request
from job_folder import processing_folder
from unit.training.conftest import base_folder, make_job

from mlpipe.contract import OBJECTIVE_MARK
from mlpipe.manifest import parse_manifest

__all__ = ["base_folder", "make_job"]  # fixtures

SETTINGS = """
[HYPERPARAMETERS]
EPOCHS = 1
BATCH_SIZE = 16
LEARNING_RATE = 0.02
[TRAINING]
METRICS = f1
THREADS = 1
"""
TWO_MACHINES = "USE_DISTRIBUTED = yes\nPROCESSES = 1\n"
CHANNELS = ("encoding", "job", "train", "validation")
VARIABLES = {"OMP_NUM_THREADS": "1"}

Upload = Callable[[Account, str], list[dict[str, Any]]]


@pytest.fixture
def upload(make_job: Any, base_folder: Any, tmp_path: Path) -> Upload:
    """Put the channels of a small training with these settings into the bucket; returns InputDataConfig."""

    def put(account: Account, settings: str) -> list[dict[str, Any]]:
        base = base_folder(make_job(settings=settings), tmp_path / "ml")
        for name in CHANNELS:
            account.upload(base / "input" / "data" / name, f"job/{name}/")
        return [channel(name, f"s3://{account.bucket}/job/{name}/") for name in CHANNELS]

    return put


def check_manifest(files: dict[str, bytes]) -> None:
    assert set(parse_manifest(files["manifest.json"], "manifest")) == set(files) - {"manifest.json"}


def test_a_model_is_trained_from_channels(make_account: MakeAccount, upload: Upload):
    account = make_account()
    done = account.train(
        training_request(
            account.bucket,
            InputDataConfig=upload(account, SETTINGS),
            HyperParameters={"epochs": "2"},
            Environment=VARIABLES,
            CheckpointConfig={"S3Uri": f"s3://{account.bucket}/checkpoints/"},
        )
    )
    assert done["TrainingJobStatus"] == "Completed", done
    model = account.objects("out/job/output/model/")
    check_manifest(model)
    assert {"model.pt", "state_dict.safetensors"} <= set(model)
    assert len(model["history.jsonl"].splitlines()) == 2, "the hyperparameter on the wire counts"
    ((_, lines),) = account.log("job").items()
    assert any(line.startswith(OBJECTIVE_MARK) for line in lines)


def test_trials_train_models_and_the_best_is_told(make_account: MakeAccount, upload: Upload):
    account = make_account()
    rates = {"Name": "learning_rate", "MinValue": "0.0001", "MaxValue": "0.1", "ScalingType": "Logarithmic"}
    config = {
        "HyperParameterTuningJobObjective": {"Type": "Maximize", "MetricName": "f1"},
        "ParameterRanges": {"ContinuousParameterRanges": [rates]},
    }
    inputs = upload(account, SETTINGS)
    request = tuning_request(account.bucket, config=config, InputDataConfig=inputs, Environment=VARIABLES)
    metric = {"Name": "f1", "Regex": re.escape(OBJECTIVE_MARK) + r"f1=([0-9.]+)"}
    request["TrainingJobDefinition"]["AlgorithmSpecification"]["MetricDefinitions"] = [metric]
    done = account.tune(request)
    assert done["HyperParameterTuningJobStatus"] == "Completed", done
    assert done["ObjectiveStatusCounters"] == {"Succeeded": 3, "Pending": 0, "Failed": 0}
    check_manifest(account.objects(f"out/{done['BestTrainingJob']['TrainingJobName']}/output/model/"))


def test_two_machines_train_one_model(make_account: MakeAccount, upload: Upload):
    account = make_account()
    done = account.train(
        training_request(
            account.bucket,
            InputDataConfig=upload(account, SETTINGS + TWO_MACHINES),
            Environment=VARIABLES,
            ResourceConfig={"InstanceType": "ml.m5.large", "InstanceCount": 2, "VolumeSizeInGB": 10},
        )
    )
    assert done["TrainingJobStatus"] == "Completed", done
    check_manifest(account.objects("out/job/output/model/"))


def test_rows_are_reconciled_in_a_processing_job(make_account: MakeAccount, tmp_path: Path):
    account = make_account()
    account.upload(processing_folder(tmp_path) / "processing" / "input" / "job", "job/")
    place = {"S3Uri": f"s3://{account.bucket}/job/", "LocalPath": "/opt/ml/processing/input/job"}
    inputs = [{"InputName": "job", "S3Input": {**place, "S3DataType": "S3Prefix", "S3InputMode": "File"}}]
    done = account.process(processing_request(account.bucket, ProcessingInputs=inputs))
    assert done["ProcessingJobStatus"] == "Completed", (done, account.log("job", "Processing"))
    assert set(account.objects("out/job/")) == {"rows.arrow", "data_card.json", "manifest.json"}


def test_the_reason_of_a_failed_step_is_told(make_account: MakeAccount):
    account = make_account()
    done = account.process(processing_request(account.bucket))
    assert done["ProcessingJobStatus"] == "Failed"
    assert done["ExitMessage"].startswith("JobError: ")
