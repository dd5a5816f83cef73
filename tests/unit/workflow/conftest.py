"""A queue on a server of its own, for the tests of the worker."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from moto_server import ENVIRONMENT, running_server
from sqs_server import FilledQueue, make_queue


@pytest.fixture(scope="session")
def sqs() -> Iterator[str]:
    """The URL of an SQS server."""
    with running_server() as endpoint:
        yield endpoint


@pytest.fixture
def queue(sqs: str, monkeypatch: pytest.MonkeyPatch) -> FilledQueue:
    """A queue with nothing in it, which boto3 finds through the environment."""
    for name, value in (ENVIRONMENT | {"AWS_ENDPOINT_URL": sqs}).items():
        monkeypatch.setenv(name, value)
    return make_queue(sqs)
