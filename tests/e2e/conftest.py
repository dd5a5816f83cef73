"""Folders in which nothing has run yet, and folders with a finished run."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from aws.fake import FakeSageMaker
from e2e.project import Finished, Project, make_project


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """A folder in which nothing has run yet."""
    return make_project(tmp_path / "project")


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Finished:
    """A folder in which `mlpipe run` has made run 1, and what that printed; tests copy it before they change it."""
    project = make_project(tmp_path_factory.mktemp("finished") / "project")
    return project, project.mlpipe("run", "settings.ini")


@pytest.fixture
def finished_copy(finished: Finished, tmp_path: Path) -> Project:
    """A copy of the finished folder that a test may change."""
    shutil.copytree(finished[0].folder, tmp_path / "project")
    return Project(tmp_path / "project")


@pytest.fixture
def fake(s3_endpoint: str, bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeSageMaker]:
    """SageMaker, which runs the jobs that commands submit."""
    with FakeSageMaker(s3_endpoint, tmp_path / "sagemaker") as running:
        monkeypatch.setenv("AWS_ENDPOINT_URL_SAGEMAKER", running.url)
        yield running
