from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from mlpipe.backends import JobResult
from mlpipe.errors import StorageError
from mlpipe.runs import ExperimentTree
from mlpipe.steps.ownership import require_owner
from mlpipe.steps.state import record_job, write_state
from mlpipe.steps.workplace import Workplace
from mlpipe.storage import LocalStorage
from mlpipe.storage.claims import Claim, claim_run
from mlpipe.storage.documents import read_document

TREE = ExperimentTree("e")


def claim(storage: LocalStorage) -> Claim:
    return claim_run(storage, TREE, {"snapshot": "p"}, new=False, run_num=None)


def test_a_job_is_recorded_with_what_it_ran_with_and_its_working_space_is_cleared(place: Workplace):
    storage = place.storage
    one = claim(storage)
    storage.write("e/runs/1/attempts/a/model/x", b"")
    record_job(
        place,
        one,
        JobResult(
            "train-m", "e/runs/1/attempts/a", "e/runs/1/attempts/a/model", 2, 1.234, {"versions": {"torch": "2"}}
        ),
    )
    (job,) = read_document(storage, one.run.state)["jobs"]
    assert (job["name"], job["seconds"], job["threads"]) == ("train-m", 1.23, 2)
    assert job["versions"] == {"torch": "2"}
    assert storage.files("e/runs/1/attempts") == {}


def test_a_process_that_lost_its_run_neither_publishes_nor_writes_over_the_new_owners_state(place: Workplace):
    storage = place.storage
    first = claim(storage)
    write_state(place, first, "failed")
    second = claim(storage)
    assert second.run.run_num == 1
    write_state(place, second, "running")
    write_state(place, first, "failed", "late")
    assert read_document(storage, second.run.state)["status"] == "running"
    with pytest.raises(StorageError, match="run 1 was taken over by another process"):
        require_owner(storage, first)
    require_owner(storage, second)


def test_jobs_that_end_at_the_same_time_are_all_recorded(place: Workplace):
    one = claim(place.storage)
    results = [JobResult(f"train-{number}", f"e/runs/1/attempts/{number}", "", 1, 1.0) for number in range(40)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda result: record_job(place, one, result), results))
    jobs = read_document(place.storage, one.run.state)["jobs"]
    assert sorted(job["name"] for job in jobs) == sorted(result.name for result in results)
