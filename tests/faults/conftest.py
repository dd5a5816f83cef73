"""Servers that the faults happen on, each started once."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from moto_server import running_server


@pytest.fixture(scope="session")
def sqs() -> Iterator[str]:
    """The URL of an SQS server."""
    with running_server() as endpoint:
        yield endpoint
