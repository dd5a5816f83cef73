"""state.json: what is going on in a run, for people and for whoever takes it over."""

from __future__ import annotations

import platform
from datetime import UTC, datetime
from importlib import metadata

from mlpipe import __version__
from mlpipe.backends import JobResult
from mlpipe.manifest import to_bytes
from mlpipe.steps.workplace import Workplace
from mlpipe.storage.claims import Claim, is_owner
from mlpipe.storage.documents import read_document

RECORDED_PACKAGES = ("torch", "transformers", "datasets", "accelerate", "evaluate", "numpy", "pyarrow", "safetensors")


def write_state(place: Workplace, claim: Claim, status: str, error: str = "") -> None:
    """Say that the run is `running`, `failed`, `interrupted`, `trained`, `partial` or `committed`.

    Every status but the first releases the run: the same command may take it over. A process that has lost the run to
    another says nothing.
    """
    with place.state_lock:
        if not is_owner(place.storage, claim):
            return
        state = read_document(place.storage, claim.run.state)
        state |= {"status": status, "owner": claim.owner.uuid, "updated": _now(), "error": error}
        place.storage.write(claim.run.state, to_bytes(state))


def record_job(place: Workplace, claim: Claim, result: JobResult) -> None:
    """Add a job whose output is published to the state, and clear its working space.

    The record says how long the job took (wall-clock seconds) and what it ran with: a resumed run may have jobs of
    several machines and versions.
    """
    job = {
        "name": result.name,
        "ended": _now(),
        "seconds": round(result.seconds, 2),
        "threads": result.threads,
        "platform": platform.platform(),
        "versions": _versions(),
    }
    with place.state_lock:
        if not is_owner(place.storage, claim):
            return
        state = read_document(place.storage, claim.run.state)
        state["jobs"] = [*state.get("jobs", []), job]
        place.storage.write(claim.run.state, to_bytes(state))
    place.storage.delete(result.attempt)


def _versions() -> dict[str, str]:
    """The versions that results depend on, read without importing anything."""
    versions = {"mlpipe": __version__, "python": platform.python_version()}
    return versions | {name: metadata.version(name) for name in RECORDED_PACKAGES}


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
