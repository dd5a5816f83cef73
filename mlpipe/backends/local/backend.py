"""The local backend: every job a child process with its own folder, log, limits, and nothing left behind."""

from __future__ import annotations

import os
import platform
import signal
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from mlpipe.backends.base import JobState, JobStatus, NoteListener
from mlpipe.backends.local.checkpoints import CheckpointMirror
from mlpipe.backends.local.configuration import configuration_files, write_configuration
from mlpipe.backends.local.launcher import Launcher, RunningJob, SubprocessLauncher, end
from mlpipe.backends.local.slots import Slots, machine_gpus
from mlpipe.backends.local.versions import installed_versions
from mlpipe.backends.variables import job_variables
from mlpipe.contract import BASE_DIR_VARIABLE, ContractFolders
from mlpipe.errors import UserFunctionError
from mlpipe.specs import JobKind, JobSpec, TrialRecord
from mlpipe.storage import Storage

GRACE_SECONDS = 10.0
POLL_SECONDS = 0.1


@dataclass
class _Job:
    spec: JobSpec
    command: Sequence[str]
    environment: Mapping[str, str]
    folders: ContractFolders
    log: Path
    checkpoints: CheckpointMirror | None
    slot: int | None = None
    process: RunningJob | None = None
    """None while the job waits for a slot."""
    started: float = 0.0
    timed_out: bool = False
    status: JobStatus | None = None


class LocalBackend:
    """Runs `python -m mlpipe.jobs` in child processes, at most `parallel_jobs` side by side.

    `folder` is their working directory.
    """

    def __init__(
        self, storage: Storage, folder: Path, parallel_jobs: int = 1, launcher: Launcher | None = None
    ) -> None:
        self._storage = storage
        self._folder = folder
        self._slots = Slots(parallel_jobs, machine_gpus(os.environ))
        self._launcher = launcher or SubprocessLauncher()
        self._jobs: dict[str, _Job] = {}
        self._is_closed = False
        self._starting = threading.Lock()
        """Held while a job is started: none is once all were stopped."""

    @property
    def is_remote(self) -> bool:
        """False: a child process ends with its parent."""
        return False

    def threads(self, kind: JobKind, /) -> int:
        """Every core of this machine, which trainings side by side share."""
        cores = os.cpu_count() or 1
        return max(1, cores // self._slots.count) if kind is JobKind.TRAINING else cores

    def worst_case(self, _specs: Sequence[JobSpec], /) -> None:
        """None: this machine is there anyway."""

    def check(self, _specs: Sequence[JobSpec], /) -> None:
        """Nothing can be known before."""

    def is_running(self, handle: str, /) -> bool:
        """Whether the job is a child of this process, and has not ended."""
        return handle in self._jobs and not self.describe(handle).has_ended

    def plan(self, spec: JobSpec) -> Mapping[str, Any]:
        """The command, the variables that it is given beside the user's environment, and the contract's files.

        Of a tuning: what a trial is started with, but for the hyperparameters that are searched, and the search.
        """
        if spec.tuning is not None:
            trial = replace(spec, kind=JobKind.TRAINING, tuning=None)
            return {**self.plan(trial), "tuning": asdict(spec.tuning)}
        return {
            "command": [sys.executable, "-P", "-m", "mlpipe.jobs", *_arguments(spec)],
            "environment": job_variables(spec),
            "channels": {channel.name: self._storage.locate(channel.key) for channel in spec.channels},
            "checkpoints": self._storage.locate(spec.checkpoints) if spec.checkpoints else None,
            "output_data": self._storage.locate(spec.output_data) if spec.output_data else None,
            "files": configuration_files(spec),
            "max_runtime_s": spec.max_runtime_s,
        }

    def handle_of(self, spec: JobSpec) -> str:
        """The key of the attempt."""
        return spec.attempt

    def find(self, _spec: JobSpec, /) -> JobStatus | None:
        """None: there are no jobs of earlier commands."""
        return None

    def submit(self, spec: JobSpec) -> str:
        """Lay out the job's folder and start its process, or let it wait for a free slot."""
        request, checkpoints = self.plan(spec), None
        base = self._storage.workspace(spec.attempt)
        folders = ContractFolders.of(spec.kind, base)
        write_configuration(base, request["files"])
        for channel in spec.channels:
            self._storage.fetch(channel.key, folders.inputs / channel.name)
        folders.output.mkdir(parents=True)
        for folder, key in ((folders.checkpoints, spec.checkpoints), (folders.output_data, spec.output_data)):
            if key:
                self._storage.workspace(key)  # where the storage is a folder, the job works in it
                self._storage.fetch(key, folder)
        if spec.checkpoints:
            checkpoints = CheckpointMirror(self._storage, folders.checkpoints, spec.checkpoints)
        log_folder, _, log_name = spec.log.rpartition("/")
        log = self._storage.workspace(log_folder) / log_name
        environment = _inherited(os.environ) | request["environment"] | _places(base)
        environment["TRAINING_JOB_NAME"] = spec.name  # as the platform has it
        job = _Job(spec, request["command"], environment, folders, log, checkpoints)
        self._jobs[spec.attempt] = job
        self._start(job)
        return spec.attempt

    def describe(self, handle: str) -> JobStatus:
        """The job's status; starts it when a slot is free, and enforces its time limit: SIGTERM, then SIGKILL."""
        job = self._jobs[handle]
        if job.process is None:
            self._start(job)
        if job.process is None and self._is_closed:
            return JobStatus(JobState.FAILED, "JobError: it was not started any more: every job was stopped")
        if job.process is None:
            return JobStatus(JobState.WAITING)
        if job.status is None:
            code = job.process.poll()
            if code is None:
                self._enforce_limit(job, job.process)
                if job.checkpoints:
                    job.checkpoints.try_update()
                return JobStatus(JobState.IN_PROGRESS)
            self._free_slot(job)
            job.status = self._ended(job, code)
        return job.status

    def logs(self, handle: str, position: str) -> tuple[list[str], str]:
        """The complete lines of the log file behind `position`, a number of bytes."""
        job, start = self._jobs[handle], int(position or 0)
        if job.process is None:
            return [], position
        with job.log.open("rb") as file:
            file.seek(start)
            content = file.read()
        complete = content.rfind(b"\n") + 1
        return content[:complete].decode("utf-8", "replace").splitlines(), str(start + complete)

    def tune(self, spec: JobSpec, _handle: str, listener: NoteListener) -> tuple[TrialRecord, ...]:
        """Run the trials as jobs of this backend, drawn by Optuna."""
        from mlpipe.backends.local.tuner import LocalTuner  # Optuna is an extra, and takes half a second

        return LocalTuner(self, self._storage, spec, listener).run()

    def stop(self, handle: str) -> None:
        """End the job's process group."""
        job = self._jobs[handle]
        if job.process is not None:
            end(job.process, GRACE_SECONDS)
            self._free_slot(job)
            self._keep(job)

    def leave(self, handle: str) -> None:
        """End the job's process group."""
        self.stop(handle)

    def poll_seconds(self, _age: float, /) -> float:
        """Always the same: a look costs next to nothing."""
        return POLL_SECONDS

    def leave_all(self) -> str:
        """End the process groups of all jobs that still run."""
        with self._starting:
            self._is_closed = True
            running = [job.process for job in self._jobs.values() if job.process and job.status is None]
        for process in running:
            process.terminate()
        for process in running:
            end(process, GRACE_SECONDS)
        return "every job was ended"

    def _start(self, job: _Job) -> None:
        """Start a job if there is a slot for it."""
        with self._starting:
            job.slot = None if self._is_closed else self._slots.take()
            if job.slot is None:
                return
            try:
                environment = {**job.environment, **self._slots.variables(job.slot)}
                job.started = time.monotonic()
                job.log.touch()
                job.process = self._launcher.launch(job.command, environment, self._folder, job.log)
            except BaseException:
                self._free_slot(job)
                raise

    def _free_slot(self, job: _Job) -> None:
        if job.slot is not None:
            self._slots.give_back(job.slot)
            job.slot = None

    def _enforce_limit(self, job: _Job, process: RunningJob) -> None:
        overtime = time.monotonic() - job.started - job.spec.max_runtime_s
        if overtime > 0 and not job.timed_out:
            job.timed_out = True
            process.terminate()
        elif overtime > GRACE_SECONDS:
            process.kill()

    def _keep(self, job: _Job) -> None:
        """Put the log and what is beside it in their place, and what the next attempt goes on from."""
        self._storage.store(job.log, job.spec.log)
        if job.spec.output_data:
            self._storage.store(job.folders.output_data, job.spec.output_data)
        if job.checkpoints:
            job.checkpoints.update()

    def _ended(self, job: _Job, code: int) -> JobStatus:
        self._keep(job)
        if code == 0:
            self._storage.store(job.folders.output, job.spec.output)
            machine = {"platform": platform.platform(), "versions": installed_versions()}
            return JobStatus(JobState.COMPLETED, output=job.spec.output, machine=machine)
        failure = job.folders.failure.read_text(encoding="utf-8") if job.folders.failure.is_file() else ""
        # A job that was ended for its time limit only knows that it was stopped, or which user function did not return.
        if failure and (not job.timed_out or failure.startswith(UserFunctionError.__name__)):
            return JobStatus(JobState.FAILED, failure)
        return JobStatus(JobState.FAILED, f"JobError: {_reason(job, code)}")


def _reason(job: _Job, code: int) -> str:
    if job.timed_out:
        return f"it ran longer than [LOCAL] MAX_RUNTIME = {job.spec.max_runtime_s} seconds and was ended"
    if code == -signal.SIGKILL:
        return "it was killed (SIGKILL), as the system does when memory runs out"
    if code < 0:
        return f"it was ended by {signal.Signals(-code).name}"
    return f"it exited with code {code} and left no reason"


def _arguments(spec: JobSpec) -> list[str]:
    """How the platform calls the image: `train` for training jobs, the container arguments for processing jobs."""
    return ["train"] if spec.kind is JobKind.TRAINING else [spec.step]


def _inherited(environment: Mapping[str, str]) -> dict[str, str]:
    """The user's environment less mlpipe's own variables: a job reads resolved settings, never the environment."""
    return {name: value for name, value in environment.items() if not name.startswith(("MLPIPE_", "SM_"))}


def _places(base: Path) -> dict[str, str]:
    """Where the job finds its folders; its own HF_HOME, but the user's downloaded models and login."""
    cache = os.environ.get("XDG_CACHE_HOME", "~/.cache")
    shared = Path(os.environ.get("HF_HOME", f"{cache}/huggingface")).expanduser()
    return {
        BASE_DIR_VARIABLE: str(base),
        "HF_HOME": str(base / "hf_home"),
        "HF_HUB_CACHE": os.environ.get("HF_HUB_CACHE", str(shared / "hub")),
        "HF_TOKEN_PATH": os.environ.get("HF_TOKEN_PATH", str(shared / "token")),
    }
