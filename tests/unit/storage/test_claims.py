from __future__ import annotations

import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, replace

import pytest

from mlpipe.errors import IntegrityError, UsageError
from mlpipe.manifest import to_bytes
from mlpipe.runs import ExperimentTree
from mlpipe.storage import Storage
from mlpipe.storage.claims import (
    Claim,
    Owner,
    claim_run,
    current_owner,
    is_owner,
    own_run,
    run_numbers,
    why_not_resumed,
)

TREE = ExperimentTree("experiment")
PRINT = {"settings": "s", "functions": "f", "snapshot": "p"}


def claim(
    storage: Storage, fingerprint: dict[str, str] = PRINT, *, new: bool = False, run_num: int | None = None
) -> Claim:
    return claim_run(storage, TREE, fingerprint, new=new, run_num=run_num)


def abandon(storage: Storage, claim: Claim) -> None:
    """Make the owner of a new run a process that has ended."""
    ended = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, check=True)
    owner = replace(claim.owner, pid=int(ended.stdout), started=-1e9)
    document = json.loads(storage.read(claim.run.claim)) | {"owner": asdict(owner)}
    storage.write(claim.run.claim, to_bytes(document))


def test_racers_never_get_the_same_run_num(storage: Storage):
    with ThreadPoolExecutor(8) as pool:
        claims = list(pool.map(lambda _: claim(storage, new=True), range(40)))
    assert sorted(one.run.run_num for one in claims) == list(range(1, 41))
    assert run_numbers(storage, TREE) == list(range(1, 41))


def test_a_run_whose_owner_is_gone_is_resumed(storage: Storage):
    first = claim(storage)
    abandon(storage, first)
    second = claim(storage)
    assert second.is_resumed
    assert second.run.run_num == 1
    assert not is_owner(storage, first)
    assert is_owner(storage, second)


def test_a_run_whose_owner_is_alive_is_left_alone(storage: Storage):
    claim(storage)
    assert claim(storage).run.run_num == 2


def test_a_run_that_said_it_had_ended_is_resumed_though_its_process_lives(storage: Storage):
    first = claim(storage)
    storage.write(first.run.state, to_bytes({"status": "failed", "owner": first.owner.uuid}))
    assert claim(storage).is_resumed


def test_other_settings_get_another_run(storage: Storage):
    abandon(storage, claim(storage))
    assert claim(storage, PRINT | {"functions": "other"}).run.run_num == 2


def test_a_run_that_is_not_resumed_has_a_reason(storage: Storage):
    first = claim(storage)
    assert f"process {first.owner.pid} of " in str(why_not_resumed(storage, first.run, PRINT))
    changed = PRINT | {"functions": "g", "snapshot": "q"}
    assert why_not_resumed(storage, first.run, changed) is None, "it is at work on something else"
    abandon(storage, first)
    assert "it was begun with other functions and snapshot" in str(why_not_resumed(storage, first.run, changed))
    storage.create(f"{first.run.root}/_SUCCESS", b"")
    assert why_not_resumed(storage, first.run, changed) is None


def test_a_committed_run_is_not_resumed(storage: Storage):
    first = claim(storage)
    abandon(storage, first)
    storage.write(f"{first.run.root}/_SUCCESS", b"")
    assert claim(storage).run.run_num == 2


def test_new_forces_a_number(storage: Storage):
    abandon(storage, claim(storage))
    assert claim(storage, new=True).run.run_num == 2


def test_of_many_successors_exactly_one_takes_a_run_over(storage: Storage):
    abandon(storage, claim(storage))
    with ThreadPoolExecutor(8) as pool:
        claims = list(pool.map(lambda _: claim(storage), range(8)))
    assert [one.run.run_num for one in claims if one.is_resumed] == [1]
    assert sum(is_owner(storage, one) for one in claims) == 8


def test_a_folder_that_a_crash_left_without_a_claim_is_used(storage: Storage):
    storage.workspace(TREE.run(1).root)
    assert claim(storage).run.run_num == 1


def test_a_wanted_number_is_claimed_or_refused_with_the_reason(storage: Storage):
    first = claim(storage, run_num=7)
    assert first.run.run_num == 7
    with pytest.raises(UsageError, match="run 7 cannot be used: its owner is still at work"):
        claim(storage, run_num=7)
    with pytest.raises(UsageError, match="run 7 cannot be used: it belongs to other settings"):
        claim(storage, PRINT | {"settings": "other"}, run_num=7)
    storage.write(f"{first.run.root}/_SUCCESS", b"")
    with pytest.raises(UsageError, match="run 7 cannot be used: it is committed"):
        claim(storage, run_num=7)


def test_an_owner_of_the_same_pid_that_started_at_another_time_is_gone():
    me = Owner.this_process()
    assert me.is_alive()
    assert not replace(me, started=me.started - 100).is_alive()
    assert replace(me, host="another host", pid=1).is_alive()


def test_owning_a_run_that_is_being_worked_on_is_refused(storage: Storage):
    first = claim(storage)
    with pytest.raises(UsageError, match="run 1 is still being worked on by process"):
        own_run(storage, first.run)
    abandon(storage, first)
    assert current_owner(storage, first.run).uuid != own_run(storage, first.run).owner.uuid


def test_a_new_run_under_a_number_that_exists_is_refused(storage: Storage):
    claim(storage, run_num=7)
    with pytest.raises(UsageError, match="RUN_NUM = 7 exists"):
        claim(storage, new=True, run_num=7)


def test_a_foreign_file_among_the_takeovers_is_no_takeover(storage: Storage):
    first = claim(storage)
    storage.write(f"{first.run.takeovers}/.DS_Store", b"")
    assert is_owner(storage, first)


@pytest.mark.parametrize("content", [b"{", b"[]", b"{}", b'{"owner": {}, "fingerprint": {}}'])
def test_a_damaged_claim_is_named(storage: Storage, content: bytes):
    first = claim(storage)
    storage.write(first.run.claim, content)
    with pytest.raises(IntegrityError, match=r"runs/1/claim\.json"):
        current_owner(storage, first.run)
