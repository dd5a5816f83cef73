"""What every step needs: the settings, the user's code, the storage, and a way to get a job done."""

from __future__ import annotations

import os
import threading
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Protocol

from mlpipe.backends import Backend, JobListener, JobResult, JobStatus, run_job
from mlpipe.contract import JOB_CHANNEL
from mlpipe.manifest import to_bytes
from mlpipe.runs import ExperimentTree, RunTree
from mlpipe.settings import Settings
from mlpipe.specs import Channel, JobKind, JobSpec, Scalar
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

    def threads(self, kind: JobKind) -> int:
        """Threads per job: as set, or every core of the machine, which trainings side by side share."""
        cores = os.cpu_count() or 1
        together = self.settings.local.max_parallel_jobs if kind is JobKind.TRAINING else 1
        return self.settings.training.threads or max(1, cores // together)

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
            threads=self.threads(kind),
            max_runtime_s=self.settings.local.max_runtime,
            log=tree.log(attempt_id),
            checkpoints=checkpoints,
            output_data=output_data,
        )

    def run(self, spec: JobSpec) -> JobResult:
        """Run a job and return its result; the attempt of a failed one stays, for whoever wants to look into it."""
        self._write_job_channel(spec)
        return run_job(self.backend, spec, self.storage.locate(spec.log), self.listener)

    def _write_job_channel(self, spec: JobSpec) -> None:
        key = spec.channels[0].key
        folder = self.storage.workspace(key)
        for name, content in self.source.files.items():
            target = folder / "user_functions" / name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content)
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
