"""A process that imports what jobs need, once, and forks a job for each line that it is sent.

Requests come as JSON on stdin, one to a line: `{"id", "arguments", "environment", "folder", "log"}` starts a job,
`{"id", "signal"}` signals its process group. For every job that ends, `{"id", "code"}` goes to stdout. The server has
no threads and imports no user code. When stdin closes, every job ends, and so does this process.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import select
import signal
import sys
from dataclasses import dataclass, field
from typing import Any

from mlpipe.contract import PARENT_VARIABLE

PRELOADED = (
    "mlpipe.jobs.__main__",
    "mlpipe.jobs.reconcile",
    "mlpipe.jobs.prepare",
    "mlpipe.jobs.train",
    "mlpipe.jobs.infer",
)

REAP_SECONDS = 0.02


@dataclass(frozen=True)
class _Child:
    """A running job: its number, and this end of the pipe by which it notices that this process is gone."""

    number: int
    lifeline: int


@dataclass
class _Server:
    answers: int
    """The descriptor that answers go to."""
    children: dict[int, _Child] = field(default_factory=dict)

    def serve(self) -> dict[str, Any] | None:
        """Serve until stdin closes; in a child, returns the request of its job at once."""
        rest = b""
        while True:
            if select.select([0], [], [], REAP_SECONDS if self.children else None)[0]:
                received = os.read(0, 65_536)
                if not received:
                    self._end_all()
                    return None
                *lines, rest = (rest + received).split(b"\n")
                for line in lines:
                    if job := self._handle(json.loads(line)):
                        return job
            self._reap()

    def _handle(self, request: dict[str, Any]) -> dict[str, Any] | None:
        if "signal" in request:
            for pid, child in self.children.items():
                if child.number == request["id"]:
                    _signal_group(pid, request["signal"])
            return None
        theirs, ours = os.pipe()
        pid = os.fork()
        if pid:
            os.close(theirs)
            self.children[pid] = _Child(request["id"], ours)
            return None
        for descriptor in (ours, self.answers):
            os.close(descriptor)
        for child in self.children.values():
            os.close(child.lifeline)
        _become(request, theirs)
        return request

    def _reap(self) -> None:
        while self.children:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if not pid:
                return
            child = self.children.pop(pid)
            _signal_group(pid, signal.SIGKILL)  # what the job left running
            os.close(child.lifeline)
            code = os.waitstatus_to_exitcode(status)
            os.write(self.answers, json.dumps({"id": child.number, "code": code}).encode() + b"\n")

    def _end_all(self) -> None:
        for pid in self.children:
            _signal_group(pid, signal.SIGKILL)


def _become(request: dict[str, Any], lifeline: int) -> None:
    """Turn this child into the job: its own session, environment, folder and log."""
    os.setsid()
    log = os.open(request["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    nothing = os.open(os.devnull, os.O_RDONLY)
    for source, target in ((nothing, 0), (log, 1), (log, 2)):
        os.dup2(source, target)
    os.close(log)
    os.close(nothing)
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(line_buffering=True, write_through=True)  # type: ignore[union-attr]
    os.environ.clear()
    os.environ.update(request["environment"] | {PARENT_VARIABLE: str(lifeline)})
    os.chdir(request["folder"])
    sys.argv = ["mlpipe.jobs", *request["arguments"]]


def _signal_group(pid: int, number: int) -> None:
    """Signal a job's process group, or the job itself where it has not come so far yet."""
    try:
        os.killpg(pid, number)
    except ProcessLookupError:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)


def main() -> None:
    """Import, serve, and in a child run the job as `python -m mlpipe.jobs` would."""
    answers = os.dup(1)
    os.dup2(2, 1)  # a library that prints when it is imported says it there
    for name in PRELOADED:
        importlib.import_module(name)
    job = _Server(answers).serve()
    if job is not None:
        entrypoint = importlib.import_module(PRELOADED[0])
        entrypoint.exit_forked(entrypoint.main(job["arguments"]))


if __name__ == "__main__":
    main()
