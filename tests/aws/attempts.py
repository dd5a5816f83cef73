"""One attempt of a job: its containers from their start to their end, their logs, and their checkpoints."""

from __future__ import annotations

import enum
import re
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from aws.containers import Container
from aws.faults import FailJob, LateLogs, SpotInterruption, StopJob
from aws.jobs import Job, TrainingJob
from aws.layout import Machine, variables
from aws.logs import GROUPS, LogStream, LogTail
from aws.objects import CheckpointSync
from aws.platform import TICK, Platform


class Ending(enum.Enum):
    """Why an attempt ended."""

    EXITED = "exited"
    STOPPED = "stopped"
    TIMED_OUT = "timed out"
    INTERRUPTED = "interrupted"
    FAILED = "failed"
    CLOSED = "closed"


@dataclass(frozen=True)
class Outcome:
    """How an attempt ended, with the exit code and the machine of a container that failed, or the platform's reason."""

    ending: Ending
    code: int = 0
    machine: Machine | None = None
    reason: str = ""

    def message(self, name: str) -> str:
        """What the container that failed, or else nobody, left in a file below output/."""
        path = self.machine.base / "output" / name if self.machine else None
        return path.read_text(encoding="utf-8", errors="replace")[:1024] if path and path.is_file() else ""


@dataclass
class Attempt:
    """The containers of a job on their machines; `seconds` is how long they may run."""

    platform: Platform
    job: Job
    machines: Sequence[Machine]
    arguments: Sequence[str]
    seconds: float
    syncs: Sequence[CheckpointSync] = ()
    _flush: bool = True
    _containers: list[Container] = field(default_factory=list)
    _tails: list[LogTail] = field(default_factory=list)
    _streams: list[LogStream] = field(default_factory=list)

    def run(self) -> Outcome:
        """Run the containers to their end."""
        self._open_logs()
        try:
            for machine in self.machines:
                command = [*self.platform.command, *self.arguments]
                self._containers.append(Container(command, variables(self.job, machine), machine))
            outcome = self._watch()
        finally:
            for container in self._containers:
                container.close()
        self._read_logs(at_end=True)
        self._finish_logs()
        if self._flush:
            self._push()
        return outcome

    def _watch(self) -> Outcome:
        deadline, outcome, kill_at = time.monotonic() + self.seconds, None, 0.0
        while True:
            runs = any(container.code() is None for container in self._containers)
            lines = self._read_logs(at_end=not runs)
            if outcome is None:
                outcome = self._outcome(lines, runs, deadline)
                kill_at = time.monotonic() + self.platform.grace
                if outcome is not None and runs:
                    self._terminate()
            is_over = outcome is not None and (outcome.ending in (Ending.FAILED, Ending.CLOSED))
            if outcome and (not runs or is_over or time.monotonic() > kill_at or self.platform.closing.is_set()):
                return outcome
            if self._flush:
                self._push()
            self.platform.closing.wait(TICK)

    def _outcome(self, lines: Sequence[str], runs: bool, deadline: float) -> Outcome | None:
        """Why the attempt has to end now, if it has to."""
        if self.platform.closing.is_set():
            return Outcome(Ending.CLOSED)
        fault = self._scripted(lines)
        if fault is not None:
            return fault
        if self.job.stop_asked.is_set():
            return Outcome(Ending.STOPPED)
        failed = self._failed()
        if failed is not None or not runs:
            return failed or Outcome(Ending.EXITED, 0, self.machines[0])
        return Outcome(Ending.TIMED_OUT) if time.monotonic() > deadline else None

    def _scripted(self, lines: Sequence[str]) -> Outcome | None:
        script, name = self.platform.script, self.job.name
        fail = script.find(FailJob, name)
        if fail is not None and _is_seen(fail.after_line, lines):
            script.happened(fail)
            return Outcome(Ending.FAILED, reason=fail.reason)
        stop = script.find(StopJob, name)
        if stop is not None and _is_seen(stop.after_line, lines):
            script.happened(stop)
            self.job.stop()
        spot = script.find(SpotInterruption, name) if isinstance(self.job, TrainingJob) and self.job.is_spot else None
        if spot is None or not _is_seen(spot.after_line, lines):
            return None
        script.happened(spot)
        self._push()
        self._flush = spot.flush
        return Outcome(Ending.INTERRUPTED)

    def _failed(self) -> Outcome | None:
        for container in self._containers:
            code = container.code()
            if code:
                return Outcome(Ending.EXITED, code, container.machine)
        return None

    def _terminate(self) -> None:
        for container in self._containers:
            if container.code() is None:
                container.terminate()

    def _push(self) -> None:
        for sync in self.syncs:
            sync.push()

    def _open_logs(self) -> None:
        late = self.platform.script.take(LateLogs, self.job.name)
        for machine in self.machines:
            machine.log.touch()
            self._tails.append(LogTail(machine.log))
            stream = f"{self.job.name}/algo-{machine.index + 1}"
            self._streams.append(
                LogStream(self.platform.logs, GROUPS[self.job.kind], stream, late.seconds if late else 0.0)
            )

    def _read_logs(self, *, at_end: bool) -> list[str]:
        found = []
        for tail, stream in zip(self._tails, self._streams, strict=True):
            lines = tail.lines(at_end=at_end)
            stream.add(lines)
            if not at_end:
                stream.ship()
            found += lines
        if isinstance(self.job, TrainingJob):
            for line in found:
                self.job.observe(line)
        return found

    def _finish_logs(self) -> None:
        for stream in self._streams:
            if stream.delay:
                self.platform.spawn(stream.ship_after, self.job.has_ended, self.platform.closing)
            else:
                stream.ship_rest(self.platform.closing)


def _is_seen(pattern: str | None, lines: Sequence[str]) -> bool:
    return pattern is None or any(re.search(pattern, line) for line in lines)
