"""The backend Protocol, and the one loop that sees a job through on any backend."""

from __future__ import annotations

import enum
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from mlpipe.errors import JobError, MlpipeError, error_classes
from mlpipe.specs import JobKind, JobSpec, TrialRecord


class JobState(enum.StrEnum):
    """Where a job stands, in the service's words; one that waits for a slot is not started yet."""

    WAITING = "Waiting"
    IN_PROGRESS = "InProgress"
    COMPLETED = "Completed"
    FAILED = "Failed"


@dataclass(frozen=True)
class JobStatus:
    """A job at one moment.

    `failure` is what the job left behind when it failed, class and message first. Of a completed job, `output` is the
    storage key of the folder that holds what it produced. `seconds` is how long it took by the service's clock, where
    the backend has one. `machine` says where it ran, for the record of the run.
    """

    state: JobState
    failure: str = ""
    output: str = ""
    seconds: float | None = None
    machine: Mapping[str, Any] = field(default_factory=dict)

    @property
    def has_ended(self) -> bool:
        """True when nothing more will happen."""
        return self.state in (JobState.COMPLETED, JobState.FAILED)


@dataclass(frozen=True)
class JobResult:
    """A completed job: the storage keys of its working space and its output, its threads, its wall-clock time, and
    where it ran."""

    name: str
    attempt: str
    output: str
    threads: int
    seconds: float
    machine: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class WorstCase:
    """What jobs take if each runs until it is ended for its time: hours of all machines together, and dollars.

    `usd` is None where a price is not known.
    """

    instance_hours: float
    usd: float | None


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


class NoteListener(Protocol):
    """Who is told, in a sentence, how a tuning goes."""

    def note(self, text: str) -> None:
        """There is something to say."""
        ...


class Backend(Protocol):
    """A place where jobs run; a handle is whatever the backend needs to find its job again."""

    @property
    def is_remote(self) -> bool:
        """Whether jobs run elsewhere: they see no file of this machine, go on when the command that submitted them
        ends, and can be come back to."""
        ...

    def threads(self, kind: JobKind, /) -> int:
        """CPU threads of a job whose settings leave them open: what its machine has, or its share of that."""
        ...

    def worst_case(self, specs: Sequence[JobSpec], /) -> WorstCase | None:
        """What these jobs may cost; None where jobs cost nothing."""
        ...

    def check(self, specs: Sequence[JobSpec], /) -> None:
        """Raise SettingsError where one of these jobs would be refused, or all together would cost too much."""
        ...

    def is_running(self, handle: str, /) -> bool:
        """Whether a job is at work that this process, or an earlier command, has submitted."""
        ...

    def plan(self, spec: JobSpec) -> Mapping[str, Any]:
        """The request that `submit` sends, as JSON values; nothing happens."""
        ...

    def handle_of(self, spec: JobSpec) -> str:
        """The handle that `submit` returns, known before."""
        ...

    def submit(self, spec: JobSpec) -> str:
        """Start a job and return its handle. A job that this very attempt has started before is not started again."""
        ...

    def describe(self, handle: str) -> JobStatus:
        """The job's present status."""
        ...

    def find(self, spec: JobSpec, /) -> JobStatus | None:
        """The status of the job that an earlier command submitted for this attempt; None where there is none."""
        ...

    def logs(self, handle: str, position: str) -> tuple[list[str], str]:
        """The complete lines written since `position` ("" at first), and the position behind them."""
        ...

    def tune(self, spec: JobSpec, handle: str, listener: NoteListener) -> tuple[TrialRecord, ...]:
        """See a tuning through, and return every trial of it.

        `handle` is that of the submitted tuning job, where the service runs it. Trials of an earlier command that were
        finished are not repeated. Raises JobError where the tuning failed.
        """
        ...

    def stop(self, handle: str) -> None:
        """End the job and everything it started; returns when it has ended."""
        ...

    def leave(self, handle: str) -> None:
        """The command that waits for the job ends: a job that cannot go on without it is stopped."""
        ...

    def leave_all(self) -> str:
        """Leave every job that has not ended, and take no more; returns what becomes of them, in words."""
        ...

    def poll_seconds(self, age: float, /) -> float:
        """How long to wait before the next look at a job that has been running for `age` seconds."""
        ...


def follow_job(backend: Backend, spec: JobSpec, handle: str, log: str, listener: JobListener) -> JobResult:
    """Pass on a submitted job's log line by line, and wait for its end.

    Raises the error that the job reported (UserFunctionError, DataError, IntegrityError, ...), JobError where it ended
    without saying why; both name the job and its log. Whatever interrupts the waiting leaves the job.
    """
    begun = time.monotonic()
    started: float | None = None
    position = ""
    try:
        while True:
            status = backend.describe(handle)
            if started is None and status.state is not JobState.WAITING:
                started = time.monotonic()
                listener.started(spec, log)
            lines, position = backend.logs(handle, position)
            for text in lines:
                listener.line(spec, text)
            if status.has_ended:
                break
            time.sleep(backend.poll_seconds(time.monotonic() - begun))
    except BaseException:
        backend.leave(handle)
        raise
    seconds = time.monotonic() - started if started is not None else 0.0
    seconds = seconds if status.seconds is None else status.seconds
    listener.ended(spec, status, seconds)
    if status.state is JobState.COMPLETED:
        return JobResult(spec.name, spec.attempt, status.output, spec.threads, seconds, status.machine)
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
