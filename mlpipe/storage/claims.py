"""Who owns a run: numbers are claimed atomically, and an abandoned run is taken over by exactly one successor."""

from __future__ import annotations

import socket
import uuid
from collections.abc import Mapping
from dataclasses import asdict, dataclass

import psutil

from mlpipe.errors import IntegrityError, UsageError
from mlpipe.manifest import SUCCESS, to_bytes
from mlpipe.runs import ExperimentTree, RunTree
from mlpipe.storage.base import Storage
from mlpipe.storage.documents import read_document

START_TOLERANCE_S = 2.0
"""How exactly the start of a process is known."""


@dataclass(frozen=True)
class Owner:
    """A process that owns a run.

    `started` (seconds after the boot of its host) tells it from a later process of the same pid, whatever happens to
    the clock.
    """

    uuid: str
    host: str
    pid: int
    started: float

    @classmethod
    def this_process(cls) -> Owner:
        """A new owner: this process, with an identity of its own."""
        process = psutil.Process()
        return cls(uuid.uuid4().hex, socket.gethostname(), process.pid, _seconds_after_boot(process))

    def is_alive(self) -> bool:
        """False when the process is known to be gone; a process of another host counts as alive."""
        if self.host != socket.gethostname():
            return True
        try:
            process = psutil.Process(self.pid)
            is_zombie = process.status() == psutil.STATUS_ZOMBIE
            return not is_zombie and abs(_seconds_after_boot(process) - self.started) < START_TOLERANCE_S
        except psutil.NoSuchProcess:
            return False


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
    fingerprint: dict[str, str] = read_document(storage, run.claim, "fingerprint")["fingerprint"]
    return fingerprint


def identity_of(storage: Storage, run: RunTree) -> str:
    """What no other run has, whoever works on this one: the UUID that it was claimed with."""
    return _owner_after(storage, run, 0).uuid


def current_owner(storage: Storage, run: RunTree) -> Owner:
    """The process that claimed the run, or the last one that took it over."""
    return _owner_after(storage, run, _takeovers(storage, run))


def claim_run(
    storage: Storage, tree: ExperimentTree, fingerprint: Mapping[str, str], *, new: bool, run_num: int | None
) -> Claim:
    """Take over the newest uncommitted run with this fingerprint whose owner is gone, else claim a new number.

    `new` forces a new number; `run_num` asks for one number and no other (UsageError where that is not to be had).
    """
    owner = Owner.this_process()
    if run_num is not None and new and storage.exists(tree.run(run_num).claim):
        raise _exists_already(run_num)
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


def foreseen_run(
    storage: Storage, tree: ExperimentTree, fingerprint: Mapping[str, str] | None, *, new: bool, run_num: int | None
) -> tuple[RunTree, bool]:
    """The run that `claim_run` would give now, and whether it would be resumed; nothing is claimed.

    Without a fingerprint, because its snapshot is still to be made, no run can be resumed. Raises UsageError as
    `claim_run` would.
    """
    numbers = run_numbers(storage, tree)
    if run_num is not None and storage.exists(tree.run(run_num).claim):
        run = tree.run(run_num)
        if new:
            raise _exists_already(run_num)
        if not (fingerprint and _is_resumable(storage, run, fingerprint) and is_released(storage, run)):
            raise _unusable(storage, run, fingerprint or {})
    for number in [] if new or fingerprint is None else reversed(numbers) if run_num is None else [run_num]:
        run = tree.run(number)
        if _is_resumable(storage, run, fingerprint or {}) and is_released(storage, run):
            return run, True
    return tree.run(run_num or (numbers[-1] + 1 if numbers else 1)), False


def why_not_resumed(storage: Storage, run: RunTree, fingerprint: Mapping[str, str]) -> str | None:
    """What keeps a command with this fingerprint from going on with an uncommitted run, where its user may wonder."""
    if not storage.exists(run.claim) or is_run_committed(storage, run):
        return None
    theirs, number, is_at_work = fingerprint_of(storage, run), run.run_num, not is_released(storage, run)
    differing = [name for name, value in fingerprint.items() if theirs.get(name) != value]
    if bool(differing) == is_at_work:  # another experiment that goes on, or one that somebody else has just resumed
        return None
    if differing:
        return f"it was begun with other {' and '.join(differing)}, and `mlpipe resume {number}` ends it with those"
    owner = current_owner(storage, run)
    return f"process {owner.pid} of {owner.host} is at work on it, and `mlpipe logs {number} -f` shows how far it is"


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
    raise _unusable(storage, run, fingerprint)


def _exists_already(run_num: int) -> UsageError:
    return UsageError(
        f"--new asks for a new run, but [EXPERIMENT] RUN_NUM = {run_num} exists", hint="write RUN_NUM = auto"
    )


def _unusable(storage: Storage, run: RunTree, fingerprint: Mapping[str, str]) -> UsageError:
    if is_run_committed(storage, run):
        reason = "it is committed"
    elif fingerprint_of(storage, run) != dict(fingerprint):
        reason = "it belongs to other settings, functions or data"
    else:
        reason = "its owner is still at work"
    return UsageError(
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
    count = _takeovers(storage, run)
    if not is_released(storage, run, count):
        return False
    return storage.create(run.takeover(count + 1), to_bytes({"owner": asdict(owner)}))


def is_released(storage: Storage, run: RunTree, takeovers: int | None = None) -> bool:
    """Whether the owner after so many takeovers (by default all) is gone, or has said that it has ended."""
    present = _owner_after(storage, run, _takeovers(storage, run) if takeovers is None else takeovers)
    if not present.is_alive():
        return True
    state = read_document(storage, run.state)
    return state.get("owner") == present.uuid and state.get("status") not in ("running", None)


def _seconds_after_boot(process: psutil.Process) -> float:
    seconds: float = process.create_time() - psutil.boot_time()
    return seconds


def _takeovers(storage: Storage, run: RunTree) -> int:
    """How many times the run has changed hands."""
    return sum(name.removesuffix(".json").isdecimal() for name in storage.files(run.takeovers))


def _owner_after(storage: Storage, run: RunTree, takeovers: int) -> Owner:
    key = run.takeover(takeovers) if takeovers else run.claim
    try:
        return Owner(**read_document(storage, key, "owner")["owner"])
    except TypeError as error:
        raise IntegrityError(f"{storage.locate(key)} does not say who owns the run: {error}") from error
