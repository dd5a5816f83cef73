"""The whole experiment in SageMaker, against a server that runs its jobs, with its storage in a bucket."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from aws.fake import FakeSageMaker
from e2e.project import Project

ROLE = "arn:aws:iam::123456789012:role/mlpipe-jobs"
IMAGE = "registry.example.com/mlpipe:1"


@pytest.fixture
def fake(s3_endpoint: str, bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeSageMaker]:
    with FakeSageMaker(s3_endpoint, tmp_path / "sagemaker") as running:
        monkeypatch.setenv("AWS_ENDPOINT_URL_SAGEMAKER", running.url)
        yield running


@pytest.fixture
def uri(project: Project, bucket: str, fake: FakeSageMaker) -> str:
    """The storage of a project whose jobs run in SageMaker."""
    uri = f"s3://{bucket}/team"
    project.edit("settings.ini", "SEED = 7", f"SEED = 7\nBACKEND = sagemaker\nSTORAGE = {uri}")
    project.edit(
        "settings.ini", "[TRAINING]", f"[SAGEMAKER]\nROLE_ARN = {ROLE}\nDOCKER_IMAGE_PATH = {IMAGE}\n\n[TRAINING]"
    )
    return uri


def test_a_run(project: Project, uri: str, fake: FakeSageMaker):
    done = project.mlpipe("run", "settings.ini")
    print(done.stdout, done.stderr)
    assert f"run 1 (committed): {uri}/tiny/runs/1" in done.stdout
