"""Fakes for the tests of the fake itself: most with a few lines of Python in place of the image."""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

import pytest
from aws.account import Account
from aws.fake import COMMAND, FakeSageMaker

PRELUDE = """
import json, os, pathlib, signal, sys, time
base = pathlib.Path(os.environ["SAGEMAKER_BASE_DIR"])
"""


MakeAccount = Callable[..., Account]


@pytest.fixture
def make_account(
    s3_endpoint: str, bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[MakeAccount]:
    """Start a fake whose image runs these lines of Python, or mlpipe's own jobs."""
    with ExitStack() as stack:

        def make(code: str | None = None, grace: float = 5.0) -> Account:
            command: Sequence[str] = COMMAND
            if code is not None:
                command = (sys.executable, "-u", "-c", PRELUDE + textwrap.dedent(code))
            fake = stack.enter_context(FakeSageMaker(s3_endpoint, tmp_path / "sagemaker", command, grace))
            monkeypatch.setenv("AWS_ENDPOINT_URL_SAGEMAKER", fake.url)
            return Account.of(fake, s3_endpoint, bucket)

        yield make
