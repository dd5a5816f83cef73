"""A launcher whose jobs are forked from a process that has imported their libraries already.

A training spends seconds on imports; `mlpipe.jobs.server` imports them once per command and forks in milliseconds. The
standard library's forkserver would import the main module of whoever calls mlpipe in every job.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import weakref
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import IO

from mlpipe.backends.local.launcher import RunningJob, SubprocessLauncher
from mlpipe.errors import JobError

SERVER = "mlpipe.jobs.server"


class ForkserverLauncher:
    """Forks jobs that run in one process each; `argv` has to be that of mlpipe's entrypoint.

    The server has the environment of the first job: what libraries read of it when they are imported holds for all jobs
    of a command. So their HF_HOME is one folder, which goes with this object, as the server does.

    The server is started by the first job whose argument is among `worth_it`: a training needs all that it imports.
    Jobs before that get an interpreter of their own, which imports what their step needs.
    """

    def __init__(self, worth_it: Collection[str] = ("train",)) -> None:
        self._worth_it = worth_it
        self._home = Path(tempfile.mkdtemp(prefix="mlpipe-hf-"))
        weakref.finalize(self, shutil.rmtree, self._home, ignore_errors=True)
        self._lock = threading.Lock()
        self._server: _Server | None = None
        self._count = 0

    def close(self) -> None:
        """End the server and every job that still runs."""
        if self._server is not None:
            self._closing()

    def launch(self, argv: Sequence[str], environment: Mapping[str, str], folder: Path, log: Path) -> RunningJob:
        """Have the job forked as soon as the server is ready, which nobody waits for here."""
        arguments = list(argv[list(argv).index("mlpipe.jobs") + 1 :])
        given = {**environment, "HF_HOME": str(self._home)}
        with self._lock:
            if self._server is None and arguments[0] not in self._worth_it:
                return SubprocessLauncher().launch(argv, environment, folder, log)
            if self._server is None:
                self._server = _Server(given)
                self._closing = weakref.finalize(self, self._server.close)
            self._count += 1
            job = _ForkedJob(self._server, self._count)
        self._server.ask({
            "id": job.number, "arguments": arguments, "environment": given, "folder": str(folder), "log": str(log)
        })  # fmt: skip
        return job


class _Server:
    """The process that forks, what it is asked, and what it has answered: the exit code of every job that has ended.

    It ends, with all jobs, when its stdin closes: when this process closes it, or is gone.
    """

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._errors: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 (it is read when the server has ended)
        self._codes: dict[int, int] = {}
        self._changed = threading.Condition()
        self._has_ended = False
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", SERVER],
                env=dict(environment),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._errors,
                start_new_session=True,
            )
        except OSError as error:
            raise JobError(f"cannot start {sys.executable}: {error}") from error
        self._reader = threading.Thread(target=self._read, daemon=True, name="forkserver answers")
        self._reader.start()

    def ask(self, request: Mapping[str, object]) -> None:
        """Send one request; JobError where the server has ended."""
        assert self._process.stdin
        try:
            with self._changed:
                self._process.stdin.write(json.dumps(request).encode() + b"\n")
                self._process.stdin.flush()
        except OSError as error:
            raise self._failure() from error

    def code(self, number: int) -> int | None:
        """The exit code of a job; None while it runs. JobError where the server has ended before the job."""
        with self._changed:
            if number not in self._codes and self._has_ended:
                raise self._failure()
            return self._codes.get(number)

    def wait(self, number: int) -> None:
        """Return when the job has ended, or the server."""
        with self._changed:
            self._changed.wait_for(lambda: number in self._codes or self._has_ended)

    def close(self) -> None:
        """End the server and every job, and return when it is gone."""
        assert self._process.stdin
        assert self._process.stdout
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()
        self._process.wait()
        self._reader.join()
        self._process.stdout.close()
        self._errors.close()

    def _read(self) -> None:
        assert self._process.stdout
        for line in self._process.stdout:
            answer = json.loads(line)
            with self._changed:
                self._codes[answer["id"]] = answer["code"]
                self._changed.notify_all()
        with self._changed:
            self._has_ended = True
            self._changed.notify_all()

    def _failure(self) -> JobError:
        if self._errors.closed:
            return JobError("the process that jobs are forked from was ended")
        self._errors.seek(0)
        said = self._errors.read().decode("utf-8", "replace").strip()
        return JobError(f"the process that jobs are forked from has ended: {said[-1000:] or 'it gave no reason'}")


class _ForkedJob:
    """A job that was asked for: the server forks it, tells how it ended, and passes signals on to its group."""

    def __init__(self, server: _Server, number: int) -> None:
        self._server = server
        self.number = number

    def poll(self) -> int | None:
        return self._server.code(self.number)

    def terminate(self) -> None:
        self._signal(signal.SIGTERM)

    def kill(self) -> None:
        self._signal(signal.SIGKILL)
        self._server.wait(self.number)

    def _signal(self, number: int) -> None:
        if self.poll() is None:
            self._server.ask({"id": self.number, "signal": number})
