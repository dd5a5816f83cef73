"""state.json: what is going on in a run, for people and for whoever takes it over."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Literal

from mlpipe.backends import JobResult
from mlpipe.manifest import to_bytes
from mlpipe.steps.workplace import Workplace
from mlpipe.storage.claims import Claim, is_owner
from mlpipe.storage.documents import read_document

RunStatus = Literal["running", "failed", "interrupted", "trained", "partial", "detached", "committed"]
"""What a process says of the run that it owns; `detached`: its jobs go on, and `mlpipe resume N` takes them up."""


def write_state(place: Workplace, claim: Claim, status: RunStatus, error: str = "") -> None:
    """Say what the run is.

    Every status but `running` releases the run: the same command may take it over. A process that has lost the run to
    another says nothing.
    """
    with place.state_lock:
        if not is_owner(place.storage, claim):
            return
        state = read_document(place.storage, claim.run.state)
        state |= {"status": status, "owner": claim.owner.uuid, "updated": _now(), "error": error}
        place.storage.write(claim.run.state, to_bytes(state))


def record_job(place: Workplace, claim: Claim, result: JobResult, *, keeps_attempt: bool = False) -> None:
    """Add a job whose output is published to the state, and clear its working space unless that is to be kept.

    The record says how long the job took (wall-clock seconds), and where and with what it ran: a resumed run may have
    jobs of several machines and versions.
    """
    job = {
        "name": result.name,
        "ended": _now(),
        "seconds": round(result.seconds, 2),
        "threads": result.threads,
        **result.machine,
    }
    with place.state_lock:
        if not is_owner(place.storage, claim):
            return
        state = read_document(place.storage, claim.run.state)
        state["jobs"] = [*state.get("jobs", []), job]
        place.storage.write(claim.run.state, to_bytes(state))
    if not keeps_attempt:
        place.storage.delete(result.attempt)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
