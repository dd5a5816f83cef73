"""Who owns a run: numbers are claimed atomically, and an abandoned run is taken over by exactly one successor."""

from __future__ import annotations

import socket
import uuid
from collections.abc import Mapping
from dataclasses import asdict, dataclass

import psutil

from mlpipe.errors import UsageError
from mlpipe.manifest import SUCCESS, to_bytes
from mlpipe.runs import ExperimentTree, RunTree
from mlpipe.storage.base import Storage
from mlpipe.storage.documents import read_document


@dataclass(frozen=True)
class Owner:
    """A process that owns a run; `started` (seconds since the epoch) tells it from a later process of the same pid."""

    uuid: str
    host: str
    pid: int
    started: float

    @classmethod
    def this_process(cls) -> Owner:
        """A new owner: this process, with an identity of its own."""
        process = psutil.Process()
        return cls(uuid.uuid4().hex, socket.gethostname(), process.pid, process.create_time())

    def is_alive(self) -> bool:
        """False when the process is known to be gone; a process of another host counts as alive."""
        if self.host != socket.gethostname():
            return True
        try:
            started: float = psutil.Process(self.pid).create_time()
        except psutil.NoSuchProcess:
            return False
        return started == self.started


@dataclass(frozen=True)
class Claim:
    """A run that this process owns: new, or taken over from an owner that is gone."""

    run: RunTree
    owner: Owner
    is_resumed: bool


def run_numbers(storage: Storage, tree: ExperimentTree) -> list[int]:
    """Every claimed number, ascending."""
    return sorted(int(name) for name in storage.folders(tree.runs) if name.isdecimal())


def is_run_committed(storage: Storage, run: RunTree) -> bool:
    """True when the run is finished and will not change."""
    return storage.exists(f"{run.root}/{SUCCESS}")


def fingerprint_of(storage: Storage, run: RunTree) -> dict[str, str]:
    """What the run was claimed for: hashes of settings and functions, and the prepared snapshot."""
    fingerprint: dict[str, str] = read_document(storage, run.claim)["fingerprint"]
    return fingerprint


def current_owner(storage: Storage, run: RunTree) -> Owner:
    """The process that claimed the run, or the last one that took it over."""
    return _owner_after(storage, run, len(storage.files(run.takeovers)))


def claim_run(
    storage: Storage, tree: ExperimentTree, fingerprint: Mapping[str, str], *, new: bool, run_num: int | None
) -> Claim:
    """Take over the newest uncommitted run with this fingerprint whose owner is gone, else claim a new number.

    `new` forces a new number; `run_num` asks for one number and no other (UsageError where that is not to be had).
    """
    owner = Owner.this_process()
    if run_num is not None:
        return _claim_number(storage, tree.run(run_num), owner, fingerprint)
    numbers = run_numbers(storage, tree)
    for number in [] if new else reversed(numbers):
        run = tree.run(number)
        if _is_resumable(storage, run, fingerprint) and _take_over(storage, run, owner):
            return Claim(run, owner, is_resumed=True)
    number = numbers[-1] if numbers else 1
    while not _create(storage, tree.run(number), owner, fingerprint):
        number += 1
    return Claim(tree.run(number), owner, is_resumed=False)


def own_run(storage: Storage, run: RunTree) -> Claim:
    """Take over an uncommitted run whatever its fingerprint; UsageError where its owner is still at work."""
    owner = Owner.this_process()
    if not _take_over(storage, run, owner):
        raise UsageError(
            f"run {run.run_num} is still being worked on by process {current_owner(storage, run).pid}",
            hint="wait until it is done, or stop it",
        )
    return Claim(run, owner, is_resumed=True)


def is_owner(storage: Storage, claim: Claim) -> bool:
    """True while nobody else has taken the run over: only the owner publishes."""
    return current_owner(storage, claim.run).uuid == claim.owner.uuid


def _claim_number(storage: Storage, run: RunTree, owner: Owner, fingerprint: Mapping[str, str]) -> Claim:
    if _create(storage, run, owner, fingerprint):
        return Claim(run, owner, is_resumed=False)
    if _is_resumable(storage, run, fingerprint) and _take_over(storage, run, owner):
        return Claim(run, owner, is_resumed=True)
    if is_run_committed(storage, run):
        reason = "it is committed"
    elif fingerprint_of(storage, run) != dict(fingerprint):
        reason = "it belongs to other settings, functions or data"
    else:
        reason = "its owner is still at work"
    raise UsageError(
        f"[EXPERIMENT] RUN_NUM: run {run.run_num} cannot be used: {reason}",
        hint="write RUN_NUM = auto, or a free number",
    )


def _create(storage: Storage, run: RunTree, owner: Owner, fingerprint: Mapping[str, str]) -> bool:
    return storage.create(run.claim, to_bytes({"owner": asdict(owner), "fingerprint": dict(fingerprint)}))


def _is_resumable(storage: Storage, run: RunTree, fingerprint: Mapping[str, str]) -> bool:
    return (
        storage.exists(run.claim)
        and not is_run_committed(storage, run)
        and fingerprint_of(storage, run) == dict(fingerprint)
    )


def _take_over(storage: Storage, run: RunTree, owner: Owner) -> bool:
    """Follow an owner that is gone, or that has said in state.json that it has ended.

    The number of the takeover is fixed before the present owner is looked at: of several processes that see the same
    owner gone, one creates that file, and the others cannot follow an owner whom they have not seen.
    """
    count = len(storage.files(run.takeovers))
    present = _owner_after(storage, run, count)
    if present.is_alive():
        state = read_document(storage, run.state)
        if state.get("owner") != present.uuid or state.get("status") in ("running", None):
            return False
    return storage.create(run.takeover(count + 1), to_bytes({"owner": asdict(owner)}))


def _owner_after(storage: Storage, run: RunTree, takeovers: int) -> Owner:
    return Owner(**read_document(storage, run.takeover(takeovers) if takeovers else run.claim)["owner"])
