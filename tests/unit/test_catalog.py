from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import pytest

from mlpipe.catalog import show_run
from mlpipe.manifest import digest, to_bytes
from mlpipe.runs import ExperimentTree
from mlpipe.specs import FileRecord
from mlpipe.storage import LocalStorage
from mlpipe.storage.claims import claim_run

TREE = ExperimentTree("experiment")
ROWS = "5" * 64


@pytest.fixture
def storage(tmp_path: Path) -> LocalStorage:
    """Run 1, which is trained; its test rows were opened by itself and, in another snapshot, by another run."""
    storage = LocalStorage(tmp_path)
    claim_run(storage, TREE, {"settings": "s", "functions": "f", "snapshot": "own"}, new=False, run_num=1)
    storage.write(TREE.run(1).state, to_bytes({"status": "trained"}))
    card = to_bytes({"test_sha256": ROWS})
    manifest = to_bytes({"files": {"data_card.json": asdict(FileRecord(digest(card), len(card)))}})
    for name, content in (
        ("data_card.json", card),
        ("manifest.json", manifest),
        ("_SUCCESS", digest(manifest).encode()),
    ):
        storage.write(f"{TREE.prepared('own')}/{name}", content)
    for name, snapshot, rows in (("a", "own", ROWS), ("b", "another", ROWS), ("c", "a third", "6" * 64)):
        storage.write(TREE.test_use(name), to_bytes({"snapshot": TREE.prepared(snapshot), "test_sha256": rows}))
    return storage


def test_openings_of_the_same_test_rows_count_whatever_run_and_snapshot_they_were_in(storage: LocalStorage):
    assert show_run(storage, TREE, 1)["test_openings"] == 2


def test_of_a_run_whose_snapshot_was_deleted_the_openings_of_that_snapshot_count(storage: LocalStorage):
    storage.delete(TREE.prepared("own"))
    assert show_run(storage, TREE, 1)["test_openings"] == 1
