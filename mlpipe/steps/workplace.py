"""What every step needs: the settings, the user's code, the storage, and a way to get a job done."""

from __future__ import annotations

import os
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Protocol

from mlpipe.backends import Backend, JobListener, JobResult, run_job
from mlpipe.contract import JOB_CHANNEL
from mlpipe.manifest import to_bytes
from mlpipe.runs import ExperimentTree, RunTree
from mlpipe.settings import Settings
from mlpipe.specs import Channel, JobKind, JobSpec, Scalar
from mlpipe.storage import Storage
from mlpipe.user_functions import UserSource


class StepListener(JobListener, Protocol):
    """A JobListener that is also told what the steps decide."""

    def note(self, text: str) -> None:
        """A step has something to say: a snapshot is reused, a run is resumed, a model failed."""
        ...


@dataclass(frozen=True)
class Workplace:
    """One experiment as its steps see it."""

    settings: Settings
    source: UserSource
    storage: Storage
    backend: Backend
    listener: StepListener

    @property
    def tree(self) -> ExperimentTree:
        """The paths of the experiment."""
        return ExperimentTree(self.settings.experiment.experiment_name)

    def threads(self, kind: JobKind) -> int:
        """Threads per job: as set, or every core of the machine, which trainings side by side share."""
        cores = os.cpu_count() or 1
        together = self.settings.local.max_parallel_jobs if kind is JobKind.TRAINING else 1
        return self.settings.training.threads or max(1, cores // together)

    def run_job(
        self,
        step: str,
        channels: Sequence[Channel],
        *,
        tree: ExperimentTree | RunTree,
        model_name: str = "",
        arguments: Mapping[str, Any] | None = None,
        hyperparameters: Mapping[str, Scalar] | None = None,
        checkpoints: str | None = None,
    ) -> JobResult:
        """Run one job of `step` in an attempt of its own below `tree`, and return its result.

        A job for one model is a training job; `checkpoints` is the storage key of the folder that hands its state on to
        the next attempt. The attempt of a failed job stays, for whoever wants to look into it.
        """
        name = f"{step}-{model_name}" if model_name else step
        kind = JobKind.TRAINING if model_name else JobKind.PROCESSING
        threads = self.threads(kind)
        attempt_id = f"{name}-{uuid.uuid4().hex[:12]}"
        attempt = tree.attempt(attempt_id)
        given = {**(arguments or {}), "model_name": model_name or None}
        job_channel = self._write_job_channel(f"{attempt}/{JOB_CHANNEL}_channel", step, channels, given, threads)
        spec = JobSpec(
            name=name,
            kind=kind,
            step=step,
            attempt=attempt,
            channels=(job_channel, *channels),
            hyperparameters=hyperparameters or {},
            threads=threads,
            max_runtime_s=self.settings.local.max_runtime,
            log=tree.log(attempt_id),
            checkpoints=checkpoints,
        )
        return run_job(self.backend, spec, self.storage.locate(spec.log), self.listener)

    def _write_job_channel(
        self, key: str, step: str, channels: Sequence[Channel], arguments: Mapping[str, Any], threads: int
    ) -> Channel:
        folder = self.storage.workspace(key)
        for name, content in self.source.files.items():
            target = folder / "user_functions" / name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content)
        (folder / "settings.resolved.json").write_bytes(to_bytes(self.settings.to_json()))
        job = {
            "step": step,
            "package": self.source.package,
            "arguments": arguments,
            "threads": threads,
            "channels": {
                channel.name: {name: asdict(record) for name, record in channel.files.items()} for channel in channels
            },
        }
        (folder / "job.json").write_bytes(to_bytes(job))
        self.storage.store(folder, key)
        return Channel(JOB_CHANNEL, key)
