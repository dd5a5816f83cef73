from __future__ import annotations

from pathlib import Path

import pytest

from mlpipe.backends import JobResult
from mlpipe.errors import StorageError
from mlpipe.runs import ExperimentTree
from mlpipe.steps.ownership import require_owner
from mlpipe.steps.state import record_job, write_state
from mlpipe.storage import LocalStorage
from mlpipe.storage.claims import Claim, claim_run
from mlpipe.storage.documents import read_document

TREE = ExperimentTree("e")


def claim(storage: LocalStorage) -> Claim:
    return claim_run(storage, TREE, {"snapshot": "p"}, new=False, run_num=None)


def test_a_job_is_recorded_with_what_it_ran_with_and_its_working_space_is_cleared(tmp_path: Path):
    storage = LocalStorage(tmp_path)
    one = claim(storage)
    storage.write("e/runs/1/attempts/a/model/x", b"")
    record_job(storage, one, JobResult("train-m", "e/runs/1/attempts/a", "e/runs/1/attempts/a/model", 2, 1.234))
    (job,) = read_document(storage, one.run.state)["jobs"]
    assert (job["name"], job["seconds"], job["threads"]) == ("train-m", 1.23, 2)
    assert {"mlpipe", "python", "torch"} <= job["versions"].keys()
    assert storage.files("e/runs/1/attempts") == {}


def test_a_process_that_lost_its_run_neither_publishes_nor_writes_over_the_new_owners_state(tmp_path: Path):
    storage = LocalStorage(tmp_path)
    first = claim(storage)
    write_state(storage, first, "failed")
    second = claim(storage)
    assert second.run.run_num == 1
    write_state(storage, second, "running")
    write_state(storage, first, "failed", "late")
    assert read_document(storage, second.run.state)["status"] == "running"
    with pytest.raises(StorageError, match="run 1 was taken over by another process"):
        require_owner(storage, first)
    require_owner(storage, second)
