"""A storage of each kind."""

from __future__ import annotations

from pathlib import Path

import pytest

from mlpipe.storage import LocalStorage, Storage
from mlpipe.storage.s3 import S3Storage


@pytest.fixture(params=["local", "s3"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> Storage:
    """An empty storage."""
    if request.param == "local":
        return LocalStorage(tmp_path / "storage")
    return S3Storage(f"s3://{request.getfixturevalue('bucket')}/some/prefix")
