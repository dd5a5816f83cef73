"""The way of checkpoints from a running job into the storage, in a bucket and in a folder."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from s3_server import Proxy, refusal

from mlpipe.backends.local.checkpoints import CheckpointMirror
from mlpipe.errors import StorageError
from mlpipe.storage import LocalStorage
from mlpipe.storage.s3 import S3Storage

KEY = "runs/1/checkpoints/m"


def checkpoint(folder: Path, name: str, content: str) -> None:
    aside = folder / ".aside"
    aside.mkdir(parents=True)
    (aside / "state.pt").write_text(content)
    shutil.rmtree(folder / name, ignore_errors=True)
    aside.rename(folder / name)


@pytest.fixture
def storage(bucket: str) -> S3Storage:
    return S3Storage(f"s3://{bucket}")


def test_new_checkpoints_arrive_and_removed_ones_go(storage: S3Storage, tmp_path: Path):
    storage.write(f"{KEY}/step-1/state.pt", b"1")
    storage.fetch(KEY, tmp_path / "job")
    mirror = CheckpointMirror(storage, tmp_path / "job", KEY)
    checkpoint(tmp_path / "job", "step-2", "22")
    mirror.update()
    assert storage.files(KEY) == {"step-1/state.pt": 1, "step-2/state.pt": 2}
    shutil.rmtree(tmp_path / "job" / "step-1")
    checkpoint(tmp_path / "job", "step-3", "333")
    mirror.update()
    assert storage.files(KEY) == {"step-2/state.pt": 2, "step-3/state.pt": 3}


def test_a_damaged_checkpoint_is_replaced_by_the_one_of_the_same_step(storage: S3Storage, tmp_path: Path):
    storage.write(f"{KEY}/step-1/state.pt", b"damaged")
    storage.fetch(KEY, tmp_path / "job")
    mirror = CheckpointMirror(storage, tmp_path / "job", KEY)
    checkpoint(tmp_path / "job", "step-1", "sound")
    mirror.update()
    assert storage.read(f"{KEY}/step-1/state.pt") == b"sound"


def test_what_is_unchanged_or_unfinished_is_not_sent(storage: S3Storage, proxy: Proxy, tmp_path: Path):
    checkpoint(tmp_path / "job", "step-1", "1")
    mirror = CheckpointMirror(S3Storage(storage.uri), tmp_path / "job", KEY)
    (tmp_path / "job" / ".aside").mkdir()
    mirror.update()
    assert proxy.requests == []


def test_a_storage_that_refuses_a_checkpoint_is_an_error(storage: S3Storage, proxy: Proxy, tmp_path: Path):
    mirror = CheckpointMirror(S3Storage(storage.uri), tmp_path / "job", KEY)
    proxy.fault = lambda request, forward: refusal(403, "AccessDenied")
    checkpoint(tmp_path / "job", "step-1", "1")
    with pytest.raises(StorageError, match=r"cannot write .*step-1/state\.pt: AccessDenied"):
        mirror.update()


def test_a_checkpoint_that_the_job_removes_meanwhile_is_passed_over(storage: S3Storage, proxy: Proxy, tmp_path: Path):
    mirror = CheckpointMirror(S3Storage(storage.uri), tmp_path / "job", KEY)

    def removed(request, forward):
        shutil.rmtree(tmp_path / "job" / "step-1")
        return refusal(403, "AccessDenied")

    proxy.fault = removed
    checkpoint(tmp_path / "job", "step-1", "1")
    mirror.update()
    proxy.fault = lambda request, forward: forward(request)
    checkpoint(tmp_path / "job", "step-2", "2")
    mirror.update()
    assert storage.files(KEY) == {"step-2/state.pt": 1}


def test_a_job_that_works_in_the_storage_itself_loses_nothing(tmp_path: Path):
    storage = LocalStorage(tmp_path / "storage")
    storage.workspace(KEY)
    storage.fetch(KEY, tmp_path / "job")
    mirror = CheckpointMirror(storage, tmp_path / "job", KEY)
    checkpoint(tmp_path / "job", "step-1", "1")
    mirror.update()
    checkpoint(tmp_path / "job", "step-2", "2")
    shutil.rmtree(tmp_path / "job" / "step-1")
    mirror.update()
    assert storage.files(KEY) == {"step-2/state.pt": 1}


def test_a_storage_that_refuses_while_the_job_runs_is_asked_again(storage: S3Storage, proxy: Proxy, tmp_path: Path):
    (tmp_path / "job").mkdir()
    mirror = CheckpointMirror(S3Storage(storage.uri), tmp_path / "job", KEY)
    checkpoint(tmp_path / "job", "step-1", "1")
    proxy.fault = lambda request, forward: refusal(403, "AccessDenied")
    mirror.try_update()
    with pytest.raises(StorageError, match="AccessDenied"):
        mirror.update()
    proxy.fault = lambda request, forward: forward(request)
    mirror.try_update()
    assert storage.files(KEY) == {"step-1/state.pt": 1}
