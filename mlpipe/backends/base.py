"""The backend Protocol, and the one loop that sees a job through on any backend."""

from __future__ import annotations

import enum
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from mlpipe.errors import JobError, MlpipeError, error_classes
from mlpipe.specs import JobSpec

POLL_SECONDS = 0.1


class JobState(enum.StrEnum):
    """Where a job stands, in the service's words; one that waits for a slot is not started yet."""

    WAITING = "Waiting"
    IN_PROGRESS = "InProgress"
    COMPLETED = "Completed"
    FAILED = "Failed"


@dataclass(frozen=True)
class JobStatus:
    """A job at one moment; `failure` is what the job left behind when it failed, class and message first."""

    state: JobState
    failure: str = ""


@dataclass(frozen=True)
class JobResult:
    """A completed job: the storage keys of its working space and its output, its threads, and its wall-clock time."""

    name: str
    attempt: str
    output: str
    threads: int
    seconds: float


class JobListener(Protocol):
    """Who is told what jobs do while they run: the console, a test, nobody."""

    def started(self, spec: JobSpec, log: str) -> None:
        """A job was started; `log` is where its log can be read."""
        ...

    def line(self, spec: JobSpec, text: str) -> None:
        """A job wrote a line."""
        ...

    def ended(self, spec: JobSpec, status: JobStatus, seconds: float) -> None:
        """A job ended."""
        ...


class Backend(Protocol):
    """A place where jobs run; `handle` is whatever the backend needs to find its job again."""

    def plan(self, spec: JobSpec) -> Mapping[str, Any]:
        """The request that `submit` sends, as JSON values; nothing happens."""
        ...

    def submit(self, spec: JobSpec) -> str:
        """Start a job and return its handle."""
        ...

    def describe(self, handle: str) -> JobStatus:
        """The job's present status."""
        ...

    def logs(self, handle: str, position: int) -> tuple[list[str], int]:
        """The complete lines written since `position` (0 at first), and the position behind them."""
        ...

    def stop(self, handle: str) -> None:
        """End the job and everything it started; returns when it has ended."""
        ...

    def stop_all(self) -> None:
        """End every job that was submitted and has not ended, and take no more; returns when they have ended."""
        ...


def run_job(backend: Backend, spec: JobSpec, log: str, listener: JobListener) -> JobResult:
    """Submit a job, pass on its log line by line, and wait for its end.

    Raises the error that the job reported (UserFunctionError, DataError, IntegrityError, ...), JobError where it ended
    without saying why; both name the job and its log. Whatever interrupts the waiting stops the job.
    """
    handle = backend.submit(spec)
    started: float | None = None
    position = 0
    try:
        while True:
            status = backend.describe(handle)
            if started is None and status.state is not JobState.WAITING:
                started = time.monotonic()
                listener.started(spec, log)
            lines, position = backend.logs(handle, position)
            for text in lines:
                listener.line(spec, text)
            if status.state in (JobState.COMPLETED, JobState.FAILED):
                break
            time.sleep(POLL_SECONDS)
    except BaseException:
        backend.stop(handle)
        raise
    seconds = time.monotonic() - started if started is not None else 0.0
    listener.ended(spec, status, seconds)
    if status.state is JobState.COMPLETED:
        return JobResult(spec.name, spec.attempt, spec.output, spec.threads, seconds)
    raise failure_of(spec, status, log)


def failure_of(spec: JobSpec, status: JobStatus, log: str) -> MlpipeError:
    """The error that a job reported in its failure file (`Class: message`, an indented hint, then the traceback)."""
    head = status.failure.split("\n\n", 1)[0]
    name, _, text = head.partition(": ")
    cls = error_classes().get(name)
    if cls is None:
        cls, text = JobError, head or f"it ended as {status.state} and left no reason"
    message, _, hint = text.partition("\n  ")
    return cls(f"job {spec.name}: {message}", hint=f"{hint}\n  log: {log}" if hint else f"log: {log}")
