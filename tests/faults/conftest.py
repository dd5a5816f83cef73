"""Servers that the faults happen on, each started once."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from sqs_server import running_sqs


@pytest.fixture(scope="session")
def sqs() -> Iterator[str]:
    """The URL of an SQS server."""
    with running_sqs() as endpoint:
        yield endpoint
