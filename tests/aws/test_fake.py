"""The fake as a whole: the resource layer of the SDK talks to it, and nothing outlives it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
from aws.conftest import MakeAccount
from aws.requests import training_request

RESOURCES = """
import sys
from sagemaker.core.resources import TrainingJob
from sagemaker.core.shapes import AlgorithmSpecification, OutputDataConfig, ResourceConfig, StoppingCondition

job = TrainingJob.create(
    training_job_name="job",
    role_arn="arn:aws:iam::123456789012:role/jobs",
    algorithm_specification=AlgorithmSpecification(training_image="image", training_input_mode="File"),
    output_data_config=OutputDataConfig(s3_output_path=sys.argv[1], compression_type="NONE"),
    resource_config=ResourceConfig(instance_type="ml.m5.large", instance_count=1, volume_size_in_gb=10),
    stopping_condition=StoppingCondition(max_runtime_in_seconds=600),
    hyper_parameters={"epochs": "2"},
)
while job.training_job_status not in ("Completed", "Failed", "Stopped"):
    job.refresh()
print(job.training_job_status, job.model_artifacts.s3_model_artifacts)
"""

KILLED = """
import sys, time
from pathlib import Path
import moto_server
from aws.account import Account
from aws.fake import FakeSageMaker
from aws.requests import training_request

image = "import os, time; print('pid', os.getpid()); print('ready', flush=True); time.sleep(600)"
with moto_server.running_server() as endpoint:
    moto_server.client("s3", endpoint).create_bucket(Bucket="bucket")
    with FakeSageMaker(endpoint, Path(sys.argv[1]), (sys.executable, "-c", image)) as fake:
        account = Account.of(fake, endpoint, "bucket")
        account.sagemaker.create_training_job(**training_request("bucket"))
        account.wait_for_line("job", "ready")
        print(account.log("job"), flush=True)
        time.sleep(600)
"""


def runs(pid: int) -> bool:
    """Whether a process runs: one that has ended may wait long for whoever has to take note of it."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def test_the_resource_layer_of_the_sdk_creates_and_follows_a_job(make_account: MakeAccount):
    account = make_account("(base / 'model' / 'a').write_text('a')")
    # A process of its own: the layer keeps its client, with the first address that it was given.
    command = [sys.executable, "-c", RESOURCES, f"s3://{account.bucket}/out"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.split()[-2:] == ["Completed", f"s3://{account.bucket}/out/job/output/model"]
    (body,) = account.fake.bodies("CreateTrainingJob")
    assert body["HyperParameters"] == {"epochs": "2"}
    assert set(account.objects("out/")) == {"job/output/model/a"}


def test_no_container_outlives_a_fake_that_was_killed(tmp_path: Path):
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", KILLED, str(tmp_path)]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=environment
    ) as process:
        assert process.stdout is not None
        container = int(process.stdout.readline().split("pid ")[1].split("'")[0])
        assert runs(container)
        process.send_signal(signal.SIGKILL)
    while runs(container):
        time.sleep(0.02)


def test_the_end_of_a_fake_ends_its_jobs(make_account: MakeAccount, tmp_path: Path):
    account = make_account("print(os.getpid()); time.sleep(600)")
    account.sagemaker.create_training_job(**training_request(account.bucket))
    while not (lines := [path.read_text() for path in tmp_path.rglob("log") if path.read_text().endswith("\n")]):
        time.sleep(0.02)
    account.fake.__exit__(None, None, None)
    while runs(int(lines[0])):  # it was killed, and the system may take a moment for it; what is not killed never ends
        time.sleep(0.02)
