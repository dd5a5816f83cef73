from __future__ import annotations

from pathlib import Path

import pytest

from mlpipe.errors import StorageError
from mlpipe.storage import LocalStorage


def test_deleting_a_job_folder_leaves_what_its_links_point_to(tmp_path: Path):
    storage = LocalStorage(tmp_path)
    storage.write("data/train/rows", b"rows")
    storage.fetch("data/train", tmp_path / "attempts" / "x" / "train")
    storage.delete("attempts/x")
    assert storage.read("data/train/rows") == b"rows"


def test_a_file_in_place_of_a_folder_is_a_storage_error_with_its_path(tmp_path: Path):
    (tmp_path / "storage").write_text("not a folder")
    with pytest.raises(StorageError, match=r"cannot write .*storage/a/b"):
        LocalStorage(tmp_path / "storage").write("a/b", b"")


def test_writing_leaves_no_other_file_behind(tmp_path: Path):
    storage = LocalStorage(tmp_path)
    storage.write("a/b", b"1")
    storage.create("a/c", b"2")
    storage.create("a/c", b"3")
    assert sorted(path.name for path in (tmp_path / "a").iterdir()) == ["b", "c"]
