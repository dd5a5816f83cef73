from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from mlpipe.errors import IntegrityError, StorageError
from mlpipe.manifest import check_folder, write_manifest
from mlpipe.storage import Storage
from mlpipe.storage.units import commit, is_committed, open_unit


def make_output(storage: Storage, key: str = "attempt/model", content: bytes = b"weights") -> None:
    folder = storage.workspace(key)
    (folder / "plots").mkdir()
    (folder / "model.pt").write_bytes(content)
    (folder / "plots" / "a.svg").write_bytes(b"<svg/>")
    write_manifest(folder)
    storage.store(folder, key)


def test_a_committed_unit_reads_back_what_the_job_wrote(storage: Storage):
    make_output(storage)
    unit = commit(storage, "attempt/model", "models/m")
    assert is_committed(storage, "models/m")
    assert unit.read("model.pt") == b"weights"
    assert open_unit(storage, "models/m") == unit
    assert set(unit.channel("plots", "plots").files) == {"a.svg"}
    assert storage.files("attempt/model") == {}


def test_a_committed_unit_reads_its_json(storage: Storage):
    folder = storage.workspace("attempt/tuning")
    (folder / "best.json").write_text('{"trial": 7}')
    (folder / "trials.jsonl").write_text('{"trial": 6, "note": "a\u2028b"}\n{"trial": 7}\n', encoding="utf-8")
    write_manifest(folder)
    storage.store(folder, "attempt/tuning")
    unit = commit(storage, "attempt/tuning", "tuning/m")
    assert unit.read_json("best.json") == {"trial": 7}
    assert unit.read_json_lines("trials.jsonl") == ({"trial": 6, "note": "a\u2028b"}, {"trial": 7})


def test_an_uncommitted_unit_is_not_opened(storage: Storage):
    make_output(storage, "models/m")
    with pytest.raises(StorageError, match=r"is not complete: it has no _SUCCESS"):
        open_unit(storage, "models/m")


def test_what_a_crash_left_at_the_destination_is_replaced(storage: Storage):
    storage.write("models/m/half", b"")
    make_output(storage)
    assert "half" not in commit(storage, "attempt/model", "models/m").files
    assert "half" not in storage.files("models/m")


def test_a_committed_unit_is_never_replaced(storage: Storage):
    make_output(storage)
    first = commit(storage, "attempt/model", "models/m")
    make_output(storage, "attempt/other", b"other weights")
    assert commit(storage, "attempt/other", "models/m") == first
    assert storage.read("models/m/model.pt") == b"weights"


def test_racers_commit_one_unit_and_all_get_it(storage: Storage):
    for number in range(16):
        make_output(storage, f"attempt/{number}", f"weights {number}".encode())
    with ThreadPoolExecutor(16) as pool:
        units = list(pool.map(lambda number: commit(storage, f"attempt/{number}", "models/m"), range(16)))
    assert len({unit.sha256 for unit in units}) == 1
    units[0].read("model.pt")
    assert storage.files("attempt") == {}


@pytest.mark.parametrize("damage", [b"", b"weights and more"])
def test_an_output_that_is_not_what_its_manifest_says_is_not_published(storage: Storage, damage: bytes):
    make_output(storage)
    storage.write("attempt/model/model.pt", damage)
    with pytest.raises(IntegrityError, match=r"model\.pt is not what the job's manifest says"):
        commit(storage, "attempt/model", "models/m")
    assert not is_committed(storage, "models/m")


def fetched(storage: Storage, folder: Path) -> Path:
    storage.fetch("models/m", folder / "fetched")
    return folder / "fetched"


def test_an_altered_file_is_named(storage: Storage, tmp_path: Path):
    make_output(storage)
    unit = commit(storage, "attempt/model", "models/m")
    storage.write("models/m/model.pt", b"WEIGHTS")
    with pytest.raises(IntegrityError, match=r"models/m/model\.pt has changed since it was committed"):
        unit.read("model.pt")
    with pytest.raises(IntegrityError, match=r"m/model\.pt has changed"):
        check_folder(fetched(storage, tmp_path), unit.files, "m")


def test_a_removed_file_is_named(storage: Storage, tmp_path: Path):
    make_output(storage)
    unit = commit(storage, "attempt/model", "models/m")
    storage.delete("models/m/model.pt")
    with pytest.raises(IntegrityError, match=r"model\.pt is missing"):
        unit.read("model.pt")
    with pytest.raises(IntegrityError, match=r"m/model\.pt is missing"):
        check_folder(fetched(storage, tmp_path), unit.files, "m")


def test_an_altered_manifest_is_named(storage: Storage):
    make_output(storage)
    commit(storage, "attempt/model", "models/m")
    storage.write("models/m/manifest.json", storage.read("models/m/manifest.json").replace(b"7", b"8"))
    with pytest.raises(IntegrityError, match=r"manifest\.json has changed"):
        open_unit(storage, "models/m")
