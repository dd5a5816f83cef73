"""What every storage promises; a new implementation joins the fixture `storage`."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from mlpipe.errors import StorageError
from mlpipe.storage import Storage


def test_what_was_written_is_read_back(storage: Storage):
    storage.write("a/b.json", b"one")
    storage.write("a/b.json", b"two")
    assert storage.read("a/b.json") == b"two"
    assert storage.exists("a/b.json")
    assert storage.files("a") == {"b.json": 3}


def test_a_missing_file_is_a_storage_error_that_names_it(storage: Storage):
    with pytest.raises(StorageError, match=r"cannot read .*a/b\.json"):
        storage.read("a/b.json")


def test_of_many_racers_exactly_one_creates_a_file(storage: Storage):
    def create(number: int) -> bool:
        return storage.create("claim.json", str(number).encode())

    with ThreadPoolExecutor(16) as pool:
        won = list(pool.map(create, range(200)))
    assert won.count(True) == 1
    assert storage.read("claim.json") == str(won.index(True)).encode()


def test_a_file_is_replaced_only_if_it_holds_what_was_expected(storage: Storage):
    assert storage.replace("p.json", b"one", None)
    assert not storage.replace("p.json", b"two", None)
    assert not storage.replace("p.json", b"two", b"none")
    assert storage.replace("p.json", b"two", b"one")
    assert storage.read("p.json") == b"two"


def test_of_many_racers_exactly_one_replaces_what_all_have_read(storage: Storage):
    storage.write("p.json", b"old")
    with ThreadPoolExecutor(16) as pool:
        won = list(pool.map(lambda number: storage.replace("p.json", str(number).encode(), b"old"), range(50)))
    assert won.count(True) == 1
    assert storage.read("p.json") == str(won.index(True)).encode()


def test_listing_is_exact_where_one_name_begins_like_another(storage: Storage):
    storage.write("runs/1/a", b"")
    storage.write("runs/10/b", b"")
    assert storage.files("runs/1") == {"a": 0}
    assert storage.folders("runs") == ["1", "10"]
    assert storage.files("runs/2") == {}
    assert storage.folders("runs/2") == []


def test_a_workspace_that_was_stored_can_be_fetched(storage: Storage, tmp_path: Path):
    folder = storage.workspace("attempts/x/model")
    (folder / "plots").mkdir()
    (folder / "plots" / "a.png").write_bytes(b"png")
    storage.store(folder, "attempts/x/model")
    storage.fetch("attempts/x/model", tmp_path / "job" / "input")
    assert (tmp_path / "job" / "input" / "plots" / "a.png").read_bytes() == b"png"


def test_a_folder_made_elsewhere_is_stored_in_its_place(storage: Storage, tmp_path: Path):
    (tmp_path / "elsewhere" / "deep").mkdir(parents=True)
    (tmp_path / "elsewhere" / "deep" / "a").write_bytes(b"a")
    storage.store(tmp_path / "elsewhere", "models/m")
    assert storage.files("models/m") == {"deep/a": 1}


def test_publishing_moves_everything(storage: Storage):
    storage.write("attempt/model/a", b"a")
    storage.write("attempt/model/plots/b", b"bb")
    assert storage.publish("attempt/model", "models/m")
    assert storage.files("attempt/model") == {}
    assert storage.files("models/m") == {"a": 1, "plots/b": 2}


def test_publishing_over_something_committed_moves_nothing(storage: Storage):
    storage.write("attempt/model/a", b"a")
    storage.write("models/m/b", b"b")
    storage.write("models/m/_SUCCESS", b"s")
    assert not storage.publish("attempt/model", "models/m")
    assert storage.files("attempt/model") == {"a": 1}
    assert storage.files("models/m") == {"_SUCCESS": 1, "b": 1}


def test_publishing_replaces_what_a_crash_left(storage: Storage):
    storage.write("attempt/model/a", b"a")
    storage.write("attempt/model/_SUCCESS", b"s")
    storage.write("models/m/half", b"")
    assert storage.publish("attempt/model", "models/m")
    assert storage.files("models/m") == {"_SUCCESS": 1, "a": 1}
    assert storage.files("attempt") == {}


def test_a_single_file_is_stored(storage: Storage, tmp_path: Path):
    (tmp_path / "log").write_bytes(b"line")
    storage.store(tmp_path / "log", "logs/a.log")
    storage.store(storage.workspace("logs"), "logs")
    assert storage.read("logs/a.log") == b"line"


def test_what_is_fetched_from_nothing_is_an_empty_folder(storage: Storage, tmp_path: Path):
    storage.workspace("checkpoints/m")
    storage.fetch("checkpoints/m", tmp_path / "job" / "checkpoints")
    (tmp_path / "job" / "checkpoints" / "step").mkdir()


def test_a_place_is_named_as_the_user_can_open_it(storage: Storage):
    assert storage.locate("a/b") == f"{storage.uri}/a/b"


def test_deleting_is_recursive_and_forgiving(storage: Storage):
    storage.write("a/b/c", b"")
    storage.delete("a/b")
    storage.delete("a/b")
    assert storage.files("a") == {}


def test_more_than_one_listing_shows_is_all_found_and_deleted(storage: Storage, tmp_path: Path):
    for number in range(1_003):
        (tmp_path / "many" / str(number)).mkdir(parents=True)
        (tmp_path / "many" / str(number) / "claim.json").write_text(str(number))
    storage.store(tmp_path / "many", "a/runs")
    storage.write("a/runs10/1/claim.json", b"other")
    assert storage.folders("a/runs") == sorted(map(str, range(1_003)))
    assert storage.files("a/runs") == {f"{number}/claim.json": len(str(number)) for number in range(1_003)}
    storage.delete("a/runs")
    assert storage.files("a") == {"runs10/1/claim.json": 5}


@pytest.mark.parametrize("key", ["../x", "/abs", "a/../../x", "a//b", ""])
def test_a_key_that_leaves_the_storage_is_refused(storage: Storage, key: str):
    with pytest.raises(StorageError, match="is not a path inside"):
        storage.write(key, b"")
