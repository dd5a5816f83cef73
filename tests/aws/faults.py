"""Faults that a test scripts: what can go wrong between a client, the service, and its machines.

Each happens `times` times, to what its pattern (as in a shell) names. A fault of a job with `after_line` happens when a
line of the job's log matches that regular expression, and so not at a moment but at a point of the work.
"""

from __future__ import annotations

import fnmatch
import threading
from dataclasses import dataclass
from typing import TypeVar

INTERNAL_ERROR = "InternalServerError: We encountered an internal error. Please try again."
NO_CAPACITY = (
    "CapacityError: Unable to provision requested ML compute capacity. Please retry using a different ML instance type "
    "or after some time."
)


@dataclass(frozen=True)
class FailJob:
    """The platform fails a job: its containers are killed. Without `after_line` they are never started."""

    job: str = "*"
    after_line: str | None = None
    reason: str = INTERNAL_ERROR
    times: int = 1


@dataclass(frozen=True)
class StopJob:
    """Somebody else stops a job. Without `after_line`, as soon as its containers run."""

    job: str = "*"
    after_line: str | None = None
    times: int = 1


@dataclass(frozen=True)
class SpotInterruption:
    """A spot training job loses its machines: SIGTERM, SIGKILL after the grace period, and a new attempt.

    The new attempt finds the checkpoints that were written before the signal, and with `flush` also those that came
    after it. Jobs without EnableManagedSpotTraining are never interrupted.
    """

    job: str = "*"
    after_line: str | None = None
    flush: bool = True
    times: int = 1


@dataclass(frozen=True)
class NoCapacity:
    """There are no machines for a job: it fails, and a spot training ends as if MaxWaitTimeInSeconds had passed."""

    job: str = "*"
    times: int = 1


@dataclass(frozen=True)
class LateLogs:
    """The lines of a job's log reach CloudWatch so many seconds late, those of its end after the job's end."""

    job: str = "*"
    seconds: float = 1.0
    times: int = 1


@dataclass(frozen=True)
class Refuse:
    """A call is refused with this error before anything is done; the operation may be a pattern."""

    operation: str
    code: str = "ThrottlingException"
    message: str = "Rate exceeded"
    status: int = 400
    times: int = 1


@dataclass(frozen=True)
class LostReply:
    """A call is done, and its connection closed without a reply."""

    operation: str
    times: int = 1


Fault = FailJob | StopJob | SpotInterruption | NoCapacity | LateLogs | Refuse | LostReply
F = TypeVar("F", bound=Fault)


class Script:
    """The faults to come; each is taken when it happens."""

    def __init__(self) -> None:
        self._faults: list[tuple[Fault, int]] = []
        self._lock = threading.Lock()

    def add(self, *faults: Fault) -> None:
        """Script further faults; of several that fit, the first added comes first."""
        with self._lock:
            self._faults += [(fault, fault.times) for fault in faults]

    def pending(self) -> list[Fault]:
        """The faults that have not happened so often as they were to."""
        with self._lock:
            return [fault for fault, _ in self._faults]

    def find(self, kind: type[F], name: str) -> F | None:
        """The next fault of a kind for a job or an operation, which stays in the script."""
        for fault in self.pending():
            pattern = fault.operation if isinstance(fault, Refuse | LostReply) else fault.job
            if isinstance(fault, kind) and fnmatch.fnmatchcase(name, pattern):
                return fault
        return None

    def take(self, kind: type[F], name: str) -> F | None:
        """The next fault of a kind for a job or an operation, which happens now."""
        fault = self.find(kind, name)
        if fault is not None:
            self.happened(fault)
        return fault

    def happened(self, fault: Fault) -> None:
        """Count one occurrence of a fault that `find` returned."""
        with self._lock:
            index = next(number for number, (other, _) in enumerate(self._faults) if other is fault)
            left = self._faults[index][1] - 1
            self._faults[index : index + 1] = [(fault, left)] if left else []
