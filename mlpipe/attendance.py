"""Looking after a run that is at work, from another process than the one that works on it: its logs, and its end."""

from __future__ import annotations

import os
import re
import signal
import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

from mlpipe.backends import Backend
from mlpipe.backends.records import JobRecord, records_below
from mlpipe.errors import UsageError
from mlpipe.runs import RunTree
from mlpipe.specs import JobKind
from mlpipe.storage import Storage
from mlpipe.storage.claims import current_owner, is_released, is_run_committed

POLL_SECONDS = 1.0
OWNER_SECONDS = 60.0
"""How long a process that was asked to stop may take for it."""
_LOG = re.compile(r"(?P<job>.+?)(-[0-9a-f]{12})?(-\d{3}(_export)?)?\.log")
"""The name of a log: a job, the id of its attempt unless that has none, and the number of a trial of it."""


@dataclass
class _Reader:
    """What was read so far of the logs of a run: bytes of stored files, and positions in a service's logs."""

    storage: Storage
    backend: Backend
    run: RunTree
    stored: dict[str, int] = field(default_factory=dict)
    positions: dict[str, str] = field(default_factory=dict)
    in_service: dict[str, int] = field(default_factory=dict)
    """Lines of a job that came from the service: its stored log, once there is one, begins with the same."""

    def lines(self) -> Iterator[tuple[str, str]]:
        """What is new, as pairs of a job's name and a line."""
        jobs = _stored_logs(self.storage, self.run)
        for record in records_below(self.storage, self.run.submitted):
            if record.kind is not JobKind.TUNING and record.log.rpartition("/")[2] not in jobs:  # trials store theirs
                yield from self._from_service(record)
        for name, job in jobs.items():
            yield from self._from_storage(name, job)

    def _from_service(self, record: JobRecord) -> Iterator[tuple[str, str]]:
        lines, position = self.backend.logs(record.handle, self.positions.get(record.handle, ""))
        self.positions[record.handle] = position
        key = record.log.rpartition("/")[2]
        self.in_service[key] = self.in_service.get(key, 0) + len(lines)
        yield from ((record.name, line) for line in lines)

    def _from_storage(self, name: str, job: str) -> Iterator[tuple[str, str]]:
        content = self.storage.read(f"{self.run.logs}/{name}")
        start = self.stored.get(name, 0)
        complete = content.rfind(b"\n") + 1
        self.stored[name] = max(start, complete)
        lines = content[start:complete].decode("utf-8", "replace").splitlines()
        for line in lines[self.in_service.pop(name, 0) :]:
            yield job, line


def log_lines(storage: Storage, backend: Backend, run: RunTree, *, follow: bool) -> Iterator[tuple[str, str]]:
    """The lines of a run's logs, each with the name of its job; with `follow`, until nobody works on the run."""
    reader = _Reader(storage, backend, run)
    while True:
        is_at_work = follow and _is_at_work(storage, backend, run)  # asked before: what comes last is read, too
        yield from reader.lines()
        if not is_at_work:
            return
        time.sleep(POLL_SECONDS)


def job_names(storage: Storage, run: RunTree) -> set[str]:
    """The jobs of a run that have a log, or were handed to a service."""
    return {*_stored_logs(storage, run).values(), *(job.name for job in records_below(storage, run.submitted))}


def stop_run(storage: Storage, backend: Backend, run: RunTree) -> list[str]:
    """End the command that works on a run, and then every job of it; returns what was ended, in words.

    UsageError where the command is on another machine, or nothing is at work.
    """
    if is_run_committed(storage, run):
        raise UsageError(f"run {run.run_num} is committed: nothing works on it")
    ended = _stop_owner(storage, run)
    for record in _running(storage, backend, run):
        backend.stop(record.handle)
        ended.append(record.handle)
    if not ended:
        raise UsageError(f"nothing works on run {run.run_num}", hint="`mlpipe runs` lists what is at work")
    return ended


def _stored_logs(storage: Storage, run: RunTree) -> dict[str, str]:
    """The names of the logs of a run's jobs, each with its job: that of a trial is its tuning."""
    found = ((name, _LOG.fullmatch(name)) for name in storage.files(run.logs) if "/" not in name)
    return {name: match["job"] for name, match in found if match}


def _is_at_work(storage: Storage, backend: Backend, run: RunTree) -> bool:
    if is_run_committed(storage, run):
        return False
    return not is_released(storage, run) or bool(_running(storage, backend, run))


def _running(storage: Storage, backend: Backend, run: RunTree) -> list[JobRecord]:
    return [record for record in records_below(storage, run.submitted) if backend.is_running(record.handle)]


def _stop_owner(storage: Storage, run: RunTree) -> list[str]:
    """Interrupt the process that owns the run, as Ctrl-C would, and wait until it has let go."""
    if is_released(storage, run):
        return []
    owner = current_owner(storage, run)
    if owner.host != socket.gethostname():
        raise UsageError(
            f"run {run.run_num} is being worked on by process {owner.pid} of {owner.host}",
            hint="stop it there: it would start the next job",
        )
    os.kill(owner.pid, signal.SIGINT)
    deadline = time.monotonic() + OWNER_SECONDS
    while not is_released(storage, run):
        if time.monotonic() > deadline:
            raise UsageError(f"process {owner.pid}, which works on run {run.run_num}, does not stop")
        time.sleep(0.1)
    return [f"process {owner.pid}"]
