"""What every step needs: the settings, the user's code, the storage, and a way to get a job done."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Protocol

from mlpipe.backends import Backend, JobListener, JobResult, JobStatus, follow_job
from mlpipe.backends.records import identity_of, record, recorded_attempt
from mlpipe.contract import JOB_CHANNEL, SOURCES_FOLDER
from mlpipe.manifest import to_bytes
from mlpipe.runs import ExperimentTree, RunTree
from mlpipe.settings import Settings
from mlpipe.specs import Channel, JobKind, JobSpec, Scalar, TrialRecord
from mlpipe.steps.sources import copy_sources
from mlpipe.storage import Storage
from mlpipe.storage.units import Unit
from mlpipe.user_functions import UserSource


class StepListener(JobListener, Protocol):
    """A JobListener that is also told what the steps decide."""

    def note(self, text: str) -> None:
        """A step has something to say: a snapshot is reused, a run is resumed, a model failed."""
        ...


class QuietListener:
    """A StepListener that nobody reads."""

    def note(self, text: str) -> None:
        """Nothing."""

    def started(self, spec: JobSpec, log: str) -> None:
        """Nothing."""

    def line(self, spec: JobSpec, text: str) -> None:
        """Nothing."""

    def ended(self, spec: JobSpec, status: JobStatus, seconds: float) -> None:
        """Nothing."""


@dataclass(frozen=True)
class Workplace:
    """One experiment as its steps see it."""

    settings: Settings
    source: UserSource
    storage: Storage
    backend: Backend
    listener: StepListener
    state_lock: threading.Lock = field(default_factory=threading.Lock)
    """Held while the state of a run is read and written again: models that train side by side end side by side."""

    @property
    def tree(self) -> ExperimentTree:
        """The paths of the experiment."""
        return ExperimentTree(self.settings.experiment.experiment_name)

    def pending(self, tree_of: Callable[[str], str]) -> Unit:
        """A snapshot that is still to be made, in a plan: its address and its files are not known."""
        return Unit(self.storage, tree_of("to-be-made"), {}, "")

    def job(
        self,
        step: str,
        channels: Sequence[Channel],
        *,
        tree: ExperimentTree | RunTree,
        model_name: str = "",
        arguments: Mapping[str, Any] | None = None,
        hyperparameters: Mapping[str, Scalar] | None = None,
        checkpoints: str | None = None,
        output_data: str | None = None,
    ) -> JobSpec:
        """One job of `step`, with an attempt of its own below `tree`; nothing happens yet.

        A job for one model is a training job; `checkpoints` is the storage key of the folder that hands its state on to
        the next attempt, `output_data` that of the one for what is kept beside the model.
        """
        name = f"{step}-{model_name}" if model_name else step
        attempt_id = f"{name}-{uuid.uuid4().hex[:12]}"
        attempt = tree.attempt(attempt_id)
        kind = JobKind.TRAINING if model_name else JobKind.PROCESSING
        return JobSpec(
            name=name,
            kind=kind,
            step=step,
            attempt=attempt,
            channels=(Channel(JOB_CHANNEL, f"{attempt}/{JOB_CHANNEL}_channel"), *channels),
            arguments={**(arguments or {}), "model_name": model_name or None},
            hyperparameters=hyperparameters or {},
            threads=self.settings.training.threads or self.backend.threads(kind),
            max_runtime_s=self.settings.limits.max_runtime,
            log=tree.log(attempt_id),
            checkpoints=checkpoints,
            output_data=output_data,
            run_num=tree.run_num if isinstance(tree, RunTree) else None,
        )

    def run(self, spec: JobSpec) -> JobResult:
        """Run a job and return its result; the attempt of a failed one stays, for whoever wants to look into it."""
        spec, handle = self.start(spec)
        return follow_job(self.backend, spec, handle, self.storage.locate(spec.log), self.listener)

    def start(self, spec: JobSpec) -> tuple[JobSpec, str]:
        """Submit a job, or come back to the same one that an earlier command has submitted; returns it with its
        handle.

        The record of the job is written before it is submitted: whatever happens, there are never two.
        """
        if self.backend.is_remote:
            key = self._record_key(spec)
            if known := recorded_attempt(self.storage, key, self.backend, spec):
                handle = self.backend.handle_of(known)
                self.listener.note(f"{spec.name}: {handle} of an earlier command is taken up again")
                return known, handle
            record(self.storage, key, self.backend, spec)
        self._write_job_channel(spec)
        return spec, self.backend.submit(spec)

    def tune(self, spec: JobSpec) -> tuple[JobSpec, tuple[TrialRecord, ...]]:
        """See a tuning through; returns it, as it was submitted, with all its trials."""
        handle = spec.attempt
        if self.backend.is_remote:
            spec, handle = self.start(spec)
        else:
            self._write_job_channel(spec)
        return spec, self.backend.tune(spec, handle, self.listener)

    def _record_key(self, spec: JobSpec) -> str:
        settings, functions = self.settings.fingerprint_document(), self.source.sha256
        identity = identity_of(spec, settings=settings, functions=functions)
        folder = self.tree.run(spec.run_num).submitted if spec.run_num else self.tree.submitted
        return f"{folder}/{spec.name}-{identity}.json"

    def _write_job_channel(self, spec: JobSpec) -> None:
        key = spec.channels[0].key
        folder = self.storage.workspace(key)
        for name, content in self.source.files.items():
            target = folder / "user_functions" / name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content)
        if self.backend.is_remote and spec.step == "reconcile":
            copy_sources(self.settings, folder / SOURCES_FOLDER)
        (folder / "settings.resolved.json").write_bytes(to_bytes(self.settings.to_json()))
        job = {
            "step": spec.step,
            "package": self.source.package,
            "arguments": spec.arguments,
            "threads": spec.threads,
            "channels": {
                channel.name: {name: asdict(record) for name, record in channel.files.items()}
                for channel in spec.channels[1:]
            },
        }
        (folder / "job.json").write_bytes(to_bytes(job))
        self.storage.store(folder, key)
