"""Secrets by name, against a server that speaks the protocols of Secrets Manager and the Parameter Store."""

from __future__ import annotations

from pathlib import Path

import boto3
import pytest
from job_folder import processing_folder, run_entrypoint

from mlpipe.errors import JobError
from mlpipe.jobs.secrets import SecretName, fetch_secrets, named_secrets

VALUE = "xyz-the-secret-itself"


@pytest.fixture
def cloud(bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A job whose role may read `mlpipe/wandb` and `/mlpipe/wandb`, on the server of the tests."""
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    store = boto3.client("secretsmanager")
    if not store.list_secrets()["SecretList"]:
        store.create_secret(Name="mlpipe/wandb", SecretString=VALUE)
        store.create_secret(Name="mlpipe/binary", SecretBinary=b"\x00")
        boto3.client("ssm").put_parameter(Name="/mlpipe/wandb", Value=VALUE, Type="SecureString")


@pytest.mark.parametrize("text", ["secretsmanager:mlpipe/wandb", "ssm:/mlpipe/wandb"])
def test_a_secret_is_fetched_by_its_name(cloud: None, text: str):
    assert fetch_secrets(named_secrets({"MLPIPE_SECRET_WANDB_API_KEY": text})) == {"WANDB_API_KEY": VALUE}


def test_a_secret_named_by_its_arn_is_looked_for_in_the_region_of_the_arn(cloud: None, monkeypatch: pytest.MonkeyPatch):
    arn = boto3.client("secretsmanager").describe_secret(SecretId="mlpipe/wandb")["ARN"]
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-central-1")
    assert fetch_secrets([SecretName("KEY", "secretsmanager", arn)]) == {"KEY": VALUE}
    with pytest.raises(JobError, match="secretsmanager:mlpipe/wandb"):
        fetch_secrets([SecretName("KEY", "secretsmanager", "mlpipe/wandb")])


def test_the_region_may_be_named_by_the_variable_that_boto3_does_not_read(cloud: None, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("AWS_DEFAULT_REGION")
    with pytest.raises(JobError, match="region"):
        fetch_secrets([SecretName("KEY", "ssm", "/mlpipe/wandb")])
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    assert fetch_secrets([SecretName("KEY", "ssm", "/mlpipe/wandb")]) == {"KEY": VALUE}


@pytest.mark.parametrize("text", ["secretsmanager:none", "ssm:/none", "secretsmanager:mlpipe/binary"])
def test_a_secret_that_is_not_there_is_named_with_its_variable(cloud: None, text: str):
    with pytest.raises(JobError, match=f"the secret {text} for KEY "):
        fetch_secrets(named_secrets({"MLPIPE_SECRET_KEY": text}))


def test_a_cloud_that_cannot_be_reached_is_an_error_with_the_name(cloud: None, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    with pytest.raises(JobError, match="ssm:/mlpipe/wandb") as raised:
        fetch_secrets([SecretName("KEY", "ssm", "/mlpipe/wandb")])
    assert "docker/iam/role-secrets.json" in raised.value.hint


@pytest.mark.parametrize("text", [VALUE, "vault:name", "ssm:", ""])
def test_a_secret_in_place_of_its_name_is_refused_and_not_shown(text: str):
    with pytest.raises(JobError, match="MLPIPE_SECRET_KEY does not name a secret") as raised:
        named_secrets({"MLPIPE_SECRET_KEY": text})
    assert "secretsmanager:NAME or ssm:NAME" in raised.value.hint
    assert VALUE not in str(raised.value)


@pytest.mark.parametrize("variable", ["MLPIPE_SECRET_", "MLPIPE_SECRET_A-B", "MLPIPE_SECRET_1A"])
def test_a_variable_that_no_environment_can_have_is_refused(variable: str):
    with pytest.raises(JobError, match="cannot be the name of an environment variable"):
        named_secrets({variable: "ssm:/name"})


def test_other_variables_name_no_secret():
    assert named_secrets({"WANDB_API_KEY": VALUE, "MLPIPE_DATA__SEED": "1", "PATH": "/bin"}) == []


def test_a_job_has_its_secrets_before_user_code_runs_and_tells_nobody(tmp_path: Path, cloud: None):
    check = f"import os; assert os.environ['WANDB_API_KEY'] == {VALUE!r}"
    rows = "return [{'text': f'text {n}', 'label': 'ab'[n % 2]} for n in range(20)]"
    base = processing_folder(tmp_path, body=f"{check}; {rows}")
    done = run_entrypoint(base, "reconcile", environment={"MLPIPE_SECRET_WANDB_API_KEY": "secretsmanager:mlpipe/wandb"})
    assert done.returncode == 0, done.stdout
    assert VALUE not in done.stdout + done.stderr
    assert all(VALUE.encode() not in path.read_bytes() for path in (base / "processing" / "output").rglob("*.*"))


def test_a_job_without_its_secret_fails_before_user_code_runs(tmp_path: Path, cloud: None):
    base = processing_folder(tmp_path, body="raise ValueError('user code ran')")
    assert run_entrypoint(base, "reconcile", environment={"MLPIPE_SECRET_WANDB_API_KEY": "ssm:/none"}).returncode == 1
    failure = (base / "output" / "message").read_text()
    assert failure.startswith("JobError: the secret ssm:/none for WANDB_API_KEY cannot be fetched: ")
    assert "user code ran" not in failure
