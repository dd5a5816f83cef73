"""state.json: what is going on in a run, for people and for whoever takes it over."""

from __future__ import annotations

from datetime import UTC, datetime

from mlpipe.backends import JobResult
from mlpipe.manifest import to_bytes
from mlpipe.storage import Storage
from mlpipe.storage.claims import Claim
from mlpipe.storage.documents import read_document


def write_state(storage: Storage, claim: Claim, status: str, error: str = "") -> None:
    """Say that the run is `running`, `failed`, `interrupted`, `trained`, `partial` or `committed`.

    Every status but the first releases the run: the same command may take it over.
    """
    state = read_document(storage, claim.run.state)
    state |= {"status": status, "owner": claim.owner.uuid, "updated": _now(), "error": error}
    storage.write(claim.run.state, to_bytes(state))


def record_job(storage: Storage, claim: Claim, result: JobResult) -> None:
    """Add a job whose output is published to the state, with its wall-clock seconds, and clear its working space."""
    state = read_document(storage, claim.run.state)
    job = {"name": result.name, "ended": _now(), "seconds": round(result.seconds, 2)}
    state["jobs"] = [*state.get("jobs", []), job]
    storage.write(claim.run.state, to_bytes(state))
    storage.delete(result.attempt)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
