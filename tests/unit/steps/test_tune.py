"""What is recorded of a tuning: one job, which took and was billed what all its trials together were."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mlpipe.manifest import MANIFEST, digest, write_manifest
from mlpipe.settings import load_settings
from mlpipe.specs import JobKind, JobSpec, TrialRecord, TrialState
from mlpipe.steps.tune import TuneModel
from mlpipe.steps.workplace import Workplace
from mlpipe.storage.claims import Claim, claim_run
from mlpipe.storage.documents import read_document

MACHINE = {"instance_type": "ml.m5.xlarge", "instance_count": 2}


@pytest.fixture
def tuning(place: Workplace, folder: Path) -> Workplace:
    """A workplace in which the learning rate of the model is to be tuned."""
    with (folder / "settings.ini").open("a") as file:
        file.write("[HYPERPARAMETERS]\nLEARNING_RATE = 0.01, 0.1\n")
    return replace(place, settings=load_settings(folder / "settings.ini", (), {}))


def trial(claim: Claim, place: Workplace, number: int, machine: dict[str, Any]) -> TrialRecord:
    """A trial that has left a model."""
    output = f"{claim.run.attempt('tune-m')}/trials/{number:03d}/model"
    folder = place.storage.workspace(output)
    (folder / "model.pt").write_bytes(b"weights")
    write_manifest(folder)
    place.storage.store(folder, output)
    manifest = digest(place.storage.read(f"{output}/{MANIFEST}"))
    drawn, curve = {"learning_rate": "0.1"}, (number / 10,)
    name = f"tune-m-{number:03d}"
    return TrialRecord(number, name, TrialState.COMPLETED, drawn, curve, 5.0, "", output, manifest, machine)


def recorded(place: Workplace, machines: list[dict[str, Any]]) -> dict[str, Any]:
    """The record of a tuning whose trials ran on these machines; the last one is the best."""
    claim = claim_run(place.storage, place.tree, {"snapshot": "p"}, new=False, run_num=None)
    trials = tuple(trial(claim, place, number, machine) for number, machine in enumerate(machines, start=1))
    attempt = claim.run.attempt("tune-m")
    spec = JobSpec("tune-m", JobKind.TUNING, "train", attempt, (), {}, {}, 1, 60, claim.run.log("tune-m"))
    TuneModel(place, "m")._publish(claim, spec, trials, trials[-1])
    job: dict[str, Any]
    (job,) = read_document(place.storage, claim.run.state)["jobs"]
    return job


def test_a_tuning_is_billed_what_all_its_trials_are(tuning: Workplace):
    job = recorded(tuning, [{**MACHINE, "billable_seconds": seconds} for seconds in (40, 0, 2)])
    assert (job["name"], job["trials"], job["seconds"]) == ("tune-m", 3, 15.0)
    assert job["billable_seconds"] == 42


def test_what_a_tuning_is_billed_is_not_told_where_it_is_not_known_of_a_single_trial(tuning: Workplace):
    job = recorded(tuning, [MACHINE, {**MACHINE, "billable_seconds": 2}])
    assert job["instance_type"] == "ml.m5.xlarge"
    assert "billable_seconds" not in job, "not even that of the best trial"


def test_trials_on_this_machine_are_not_billed(tuning: Workplace):
    assert "billable_seconds" not in recorded(tuning, [{}, {}])
