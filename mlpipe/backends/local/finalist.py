"""The export of a tuning's best trial.

An export is proved in processes of its own, which takes longer than a short training. So a trial leaves its weights and
a checkpoint behind its last epoch, and the best one's job is run once more from there: it trains nothing, and exports.
"""

from __future__ import annotations

from dataclasses import replace

from mlpipe.backends.base import Backend, JobStatus, follow_job
from mlpipe.contract import DEFERRAL_MARK
from mlpipe.errors import ExportError
from mlpipe.manifest import MANIFEST, digest, parse_manifest
from mlpipe.specs import FileRecord, JobSpec, TrialRecord
from mlpipe.storage import Storage

TORCHSCRIPT, STATE_DICT = "model.pt", "state_dict.safetensors"


class _Nobody:
    """A JobListener that passes nothing on: the export's log is a file."""

    def started(self, spec: JobSpec, log: str) -> None:
        """Nothing."""

    def line(self, spec: JobSpec, text: str) -> None:
        """Nothing."""

    def ended(self, spec: JobSpec, status: JobStatus, seconds: float) -> None:
        """Nothing."""


def is_exported(storage: Storage, trial: TrialRecord) -> bool:
    """Whether a trial has left a model, and not only what one can be exported from."""
    return bool(trial.output) and storage.exists(f"{trial.output}/{TORCHSCRIPT}")


def deferring(spec: JobSpec) -> JobSpec:
    """A trial's job that leaves out the export."""
    return replace(
        spec,
        hyperparameters={**spec.hyperparameters, DEFERRAL_MARK: "yes"},
        checkpoints=_checkpoint(spec.attempt),
    )


def has_checkpoint(storage: Storage, attempt: str) -> bool:
    """Whether a trial can be exported from where it ended; otherwise it has to be trained again."""
    return bool(storage.files(_checkpoint(attempt)))


def forget(storage: Storage, attempt: str) -> None:
    """Remove the checkpoint of a trial that is not the best: it takes several times the room of the weights."""
    storage.delete(_checkpoint(attempt))


def export(backend: Backend, storage: Storage, spec: JobSpec, trial: TrialRecord) -> TrialRecord:
    """Run the job of a trial that has deferred it once more, for its export; returns the record with the model.

    `spec` is the job of that trial without the deferral; where its checkpoint is gone, it trains again. Raises
    ExportError where the model cannot be exported, or not with the weights of the trial.
    """
    exporting = replace(
        spec,
        attempt=f"{spec.attempt}-export",
        checkpoints=_checkpoint(spec.attempt),
        log=spec.log.removesuffix(".log") + "_export.log",
    )
    result = follow_job(backend, exporting, backend.submit(exporting), storage.locate(exporting.log), _Nobody())
    if _weights(storage, result.output) != _weights(storage, trial.output):
        raise ExportError(
            f"the weights that were exported for {trial.name} are not those that it was trained to",
            hint=f"log: {storage.locate(exporting.log)}",
        )
    manifest = digest(storage.read(f"{result.output}/{MANIFEST}"))
    machine = {**result.machine, "export_seconds": round(result.seconds, 2)}
    return replace(trial, output=result.output, manifest_sha256=manifest, machine=machine)


def _checkpoint(attempt: str) -> str:
    return f"{attempt}/final_checkpoint"


def _weights(storage: Storage, output: str) -> FileRecord:
    source = f"{output}/{MANIFEST}"
    return parse_manifest(storage.read(source), storage.locate(source))[STATE_DICT]
