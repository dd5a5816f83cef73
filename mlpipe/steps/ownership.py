"""Publishing into a run: only its present owner may."""

from __future__ import annotations

from mlpipe.errors import StorageError
from mlpipe.storage import Storage
from mlpipe.storage.claims import Claim, is_owner
from mlpipe.storage.units import Unit, commit


def publish(storage: Storage, claim: Claim, source: str, destination: str) -> Unit:
    """Commit a job's output as a unit of the run; StorageError where the run was taken over meanwhile."""
    require_owner(storage, claim)
    return commit(storage, source, destination)


def require_owner(storage: Storage, claim: Claim) -> None:
    """Raise StorageError where another process has taken the run over."""
    if not is_owner(storage, claim):
        raise StorageError(
            f"run {claim.run.run_num} was taken over by another process",
            hint="nothing was published; `mlpipe runs` shows who is at work",
        )
