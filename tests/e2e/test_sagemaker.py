"""The whole experiment in SageMaker, against a server that runs its jobs, with its storage in a bucket."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import iam_policy
import pytest
import torch
from aws.fake import FakeSageMaker
from aws.faults import SpotInterruption
from aws.rules import check_rules
from aws.validation import check_body
from e2e.bucket import check_units, contents
from e2e.cloud import IMAGE, to_sagemaker
from e2e.project import Finished, Project, error_of, lines_of
from iam_policy import Call, Policy, needs_of, s3_call
from s3_server import Proxy, Request
from safetensors.torch import load

CANARY = "wJalrXUtnFEMI-K7MDENG-bPxRfiCYEXAMPLEKEY"


@pytest.fixture
def uri(project: Project, bucket: str, fake: FakeSageMaker) -> str:
    """The storage of a project whose jobs run in SageMaker."""
    uri = f"s3://{bucket}/team"
    to_sagemaker(project, uri)
    return uri


def one_model(project: Project) -> None:
    """Only the small model, which is enough where it is not about several."""
    project.edit("settings.ini", "MODEL_NAMES = small, large", "MODEL_NAMES = small")
    project.edit("settings.ini", "[USER_HYPERPARAMETERS.large]\nWIDTH = 16\n", "")


def aws_call(request: Request) -> Call:
    """The call behind a request to any service but SageMaker, which has a server of its own."""
    scope = re.search(r"Credential=[^/]+/\d+/[^/]+/([^/]+)/", request.headers["Authorization"])
    assert scope
    if scope[1] == "s3":
        return s3_call(request.method, request.path, request.headers, request.body)
    if "X-Amz-Target" in request.headers:
        return Call(scope[1], request.headers["X-Amz-Target"].rpartition(".")[2], json.loads(request.body))
    return Call(scope[1], parse_qs(request.body.decode())["Action"][0])


def test_a_run_is_complete_equals_a_local_one_and_needs_no_more_than_the_policy(
    finished: Finished,
    project: Project,
    uri: str,
    fake: FakeSageMaker,
    bucket: str,
    s3_endpoint: str,
    proxy: Proxy,
    monkeypatch: pytest.MonkeyPatch,
):
    for name in ("AWS_SECRET_ACCESS_KEY", "WANDB_API_KEY", "HF_TOKEN"):
        monkeypatch.setenv(name, CANARY)
    planned = json.loads(project.mlpipe("run", "--dry-run", "--json").stdout)["tasks"]
    done = project.mlpipe("run", "settings.ini")
    assert f"run 1 (committed): {uri}/tiny/runs/1" in done.stdout
    assert "train-small: epoch 2: train_loss" in done.stderr

    found = contents(bucket, s3_endpoint)
    run = "team/tiny/runs/1"
    check_units(found, run)
    assert not [key for key in found if "/attempts/" in key or "/checkpoints/" in key]
    for file in (
        *(f"models/{model}/{name}" for model in ("small", "large") for name in ("model.pt", "metrics.json")),
        *(f"inference/{model}/statistics.json" for model in ("small", "large")),
        "comparison.json",
    ):
        assert found[f"{run}/{file}"] == (finished[0].run / file).read_bytes(), f"{file} is not what a local run gives"

    created = [request for request in fake.requests if request.operation.startswith("Create")]
    assert [request.operation for request in created] == [
        "CreateProcessingJob",
        "CreateProcessingJob",
        "CreateTrainingJob",
        "CreateTrainingJob",
        "CreateProcessingJob",
    ]
    sent = [request.body for request in created if request.operation == "CreateTrainingJob"]
    meant = [task["request"] for task in planned if task["task"].startswith("TrainModel")]
    assert [without_addresses(body) for body in sent] == [without_addresses(body) for body in meant]

    shown = json.loads(project.mlpipe("show", "1", "--json").stdout)
    jobs = shown["record"]["jobs"]
    assert [job["name"] for job in jobs] == ["train-small", "train-large", "infer"]
    assert all(job["image"] == IMAGE and job["instance_type"] == "ml.m5.xlarge" for job in jobs)
    assert "billable" in project.mlpipe("show", "1").stdout
    logs = project.mlpipe("logs", "1", "--job", "train-small").stdout
    assert "train-small: epoch 2: train_loss" in logs
    assert "train-large" not in logs
    verified = project.mlpipe("infer", "--run-num", "1")
    assert "run 1 verified: statistics.json and predictions.parquet of small, large" in verified.stdout

    monkeypatch.setattr(iam_policy, "ACCOUNT", "123456789012")
    monkeypatch.setattr(iam_policy, "REGION", "us-east-1")
    policy = Policy("caller.json", BUCKET=bucket, PREFIX="team", REPOSITORY="mlpipe")
    calls = [Call("sagemaker", request.operation, request.body) for request in fake.requests]
    calls += [aws_call(request) for request in proxy.requests]
    assert {call.service for call in calls} == {"sagemaker", "s3", "sts", "logs"}
    assert [need for call in calls for need in needs_of(call) if not policy.allows(need)] == []

    assert not [key for key, content in contents(bucket, s3_endpoint).items() if CANARY.encode() in content]
    assert CANARY not in json.dumps([request.body for request in fake.requests])
    assert CANARY not in done.stdout + done.stderr


def without_addresses(body: dict[str, Any]) -> Any:
    """A request without what a plan cannot know: the attempt's random id, and the address of data still to be made."""
    text = json.dumps(body, sort_keys=True)
    return json.loads(re.sub(r"-[0-9a-f]{12}\b|prepared/(to-be-made|[0-9a-f]{16})", "", text))


def test_a_plan_offline_needs_no_network_no_account_and_no_torch(project: Project):
    arguments = ["run", "--dry-run", "--offline", "--json", "--set", "experiment.backend=sagemaker"]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    done = subprocess.run(
        ["unshare", "-rn", sys.executable, "-X", "importtime", "-m", "mlpipe", *arguments],
        cwd=project.folder,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines() if line.startswith("import time:")}
    assert "sagemaker.core.resources" in imported
    assert not {"torch", "transformers", "datasets"} & imported
    plan = json.loads(done.stdout)
    requests = [task["request"] for task in plan["tasks"] if task["request"]]
    assert len(requests) == 5
    for request in requests:
        operation = "CreateTrainingJob" if "TrainingJobName" in request else "CreateProcessingJob"
        check_body(operation, request)
        check_rules(operation, request)
    assert plan["worst_case"] == {"instance_hours": 120.0, "usd": None}


def test_a_run_that_costs_too_much_at_worst_starts_nothing(project: Project, uri: str, fake: FakeSageMaker):
    done = project.mlpipe("run", "--set", "sagemaker.max_instance_hours=100", code=2)
    assert "MAX_INSTANCE_HOURS = 100: at worst the jobs take 120 instance-hours; nothing was started" in error_of(done)
    assert fake.bodies("CreateProcessingJob") == []
    typo = project.mlpipe("run", "--set", "sagemaker.instance_type=ml.m5.xlrage", code=2)
    assert "did you mean ml.m5.xlarge?" in error_of(typo)
    assert fake.bodies("CreateProcessingJob") == [], "it would be noticed before the first job, not after two"


def test_a_command_that_is_killed_leaves_its_job_to_the_next(project: Project, uri: str, fake: FakeSageMaker):
    one_model(project)
    project.edit("settings.ini", "[USER]", "[USER]\nSLOW = yes")
    process = project.start("run", "settings.ini")
    lines_of(process, "train-small: started")
    process.kill()
    process.communicate()
    done = project.mlpipe("run", "settings.ini")
    assert "train-small: training/mlpipe-tiny-1-train-small-" in done.stderr
    assert "of an earlier command is taken up again" in done.stderr
    assert "run 1 (committed)" in done.stdout
    assert len(fake.bodies("CreateTrainingJob")) == 1


def test_a_run_is_detached_followed_interrupted_stopped_and_resumed(project: Project, uri: str, fake: FakeSageMaker):
    one_model(project)
    project.edit("settings.ini", "[USER]", "[USER]\nSLOW = yes")
    project.edit("settings.ini", "EPOCHS = 2", "EPOCHS = 4")
    started = project.mlpipe("run", "--detach")
    assert "run 1: small started" in started.stdout
    assert "`mlpipe resume 1` goes on with it" in started.stdout
    assert json.loads(project.mlpipe("runs", "--json").stdout)[0]["status"] == "detached"

    process = project.start("resume", "1")
    lines_of(process, "of an earlier command is taken up again")
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate()
    assert process.returncode == 130
    assert "interrupted; the jobs in SageMaker go on" in stderr
    assert "`mlpipe stop 1` ends the jobs" in stderr

    stopped = project.mlpipe("stop", "1")
    assert re.search(r"training/mlpipe-tiny-1-train-small-[0-9a-f]{12}: stopped", stopped.stdout)
    assert "nothing works on run 1" in error_of(project.mlpipe("stop", "1", code=2))
    done = project.mlpipe("resume", "1")
    assert "run 1 (committed)" in done.stdout
    assert len(fake.bodies("CreateTrainingJob")) == 2
    assert "run 1 is committed" in error_of(project.mlpipe("resume", "1", code=2))
    assert "train-small: epoch 1: train_loss" in project.mlpipe("logs", "1", "-f").stdout


def test_the_jobs_of_this_machine_cannot_be_detached(project: Project):
    error = error_of(project.mlpipe("run", "--detach", code=2))
    assert error.startswith("--detach: the jobs of BACKEND = local end with the command")


def test_a_spot_interruption_changes_nothing_about_the_weights(
    finished: Finished, project: Project, uri: str, fake: FakeSageMaker, bucket: str, s3_endpoint: str
):
    fake.script(SpotInterruption(job="*train-small*", after_line="epoch 1: "))
    prices = ("--set", "sagemaker.price_per_hour=360", "--set", "sagemaker.processing_price_per_hour=36")
    done = project.mlpipe("run", "--set", "sagemaker.spot=yes", *prices)
    assert fake.pending_faults == []
    assert "run 1 (committed)" in done.stdout
    shown = json.loads(project.mlpipe("show", "1", "--json").stdout)
    billed = {job["name"]: job["billable_seconds"] for job in shown["record"]["jobs"]}
    for line in json.loads(project.mlpipe("compare", "1", "--json").stdout)["models"]:
        assert line["training_usd"] == pytest.approx(billed[f"train-{line['model_name']}"] / 10)
    name = "models/small/state_dict.safetensors"
    assert contents(bucket, s3_endpoint)[f"team/tiny/runs/1/{name}"] == (finished[0].run / name).read_bytes()


def test_two_machines_train_what_one_process_trains(
    project: Project, uri: str, fake: FakeSageMaker, bucket: str, s3_endpoint: str, tmp_path: Path
):
    one_model(project)
    (tmp_path / "notes").mkdir()
    project.edit("settings.ini", "EPOCHS = 2", "EPOCHS = 1\nBATCH_SIZE = 67\nWARMUP_RATIO = 0")
    project.edit("settings.ini", "[USER]", f"[USER]\nNOTES = {tmp_path / 'notes'}")
    found = {}
    for name, settings in {"one": [], "two": ["instance_count=2", "use_distributed=yes"]}.items():
        options = [f"--set=sagemaker.{text}" if "count" in text else f"--set=training.{text}" for text in settings]
        project.mlpipe("run", "--new", *options)
        notes = sorted(line for path in (tmp_path / "notes").iterdir() for line in path.read_text().splitlines())
        found[name] = notes
        for path in (tmp_path / "notes").iterdir():
            path.unlink()
    bodies = fake.bodies("CreateTrainingJob")
    assert [body["ResourceConfig"]["InstanceCount"] for body in bodies] == [1, 2]
    objects = contents(bucket, s3_endpoint)
    one, two = (load(objects[f"team/tiny/runs/{number}/models/small/state_dict.safetensors"]) for number in (1, 2))
    timing = json.loads(objects["team/tiny/runs/2/models/small/timing.json"])
    assert timing["processes"] == 2
    assert one.keys() == two.keys()
    for name in one:
        torch.testing.assert_close(two[name], one[name], atol=1e-5, rtol=0)
    assert found["two"] == found["one"]
    assert len(found["one"]) >= 29, "every validation row"
