"""An S3 server per test process, and a bucket per test."""

from __future__ import annotations

import uuid
from collections.abc import Iterator

import moto_server
import pytest
import s3_server


@pytest.fixture(scope="session")
def s3_endpoint() -> Iterator[str]:
    """The URL of an S3 server."""
    with moto_server.running_server() as url:
        yield url


@pytest.fixture
def bucket(s3_endpoint: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """The name of an empty bucket; the environment names the server that has it."""
    for name, value in {**moto_server.ENVIRONMENT, "AWS_ENDPOINT_URL": s3_endpoint}.items():
        monkeypatch.setenv(name, value)
    for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_REGION"):
        monkeypatch.delenv(name, raising=False)
    name = f"bucket-{uuid.uuid4().hex[:16]}"
    moto_server.client("s3", s3_endpoint).create_bucket(Bucket=name)
    return name


@pytest.fixture
def proxy(s3_endpoint: str, bucket: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[s3_server.Proxy]:
    """A proxy before the server, which the environment names instead."""
    with s3_server.running_proxy(s3_endpoint) as running:
        monkeypatch.setenv("AWS_ENDPOINT_URL", running.url)
        yield running
