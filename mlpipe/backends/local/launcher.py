"""Starting a job's process, and ending it together with everything that it started."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

from mlpipe.contract import PARENT_VARIABLE
from mlpipe.errors import JobError


class RunningJob(Protocol):
    """A started process group."""

    def poll(self) -> int | None:
        """The exit code, or None while the process runs; negative where a signal ended it."""
        ...

    def terminate(self) -> None:
        """Ask the job to end (SIGTERM)."""
        ...

    def kill(self) -> None:
        """End the whole process group (SIGKILL), and return when the job's process is gone."""
        ...


class Launcher(Protocol):
    """Starts `argv` with `environment` in `folder`; stdout and stderr go to the end of the file `log`."""

    def launch(self, argv: Sequence[str], environment: Mapping[str, str], folder: Path, log: Path) -> RunningJob:
        """Start the process; JobError where that is not possible."""
        ...


class SubprocessLauncher:
    """A new interpreter per job, in a session of its own, so that Ctrl-C reaches only the command."""

    def launch(self, argv: Sequence[str], environment: Mapping[str, str], folder: Path, log: Path) -> RunningJob:
        """Start the process with one end of a pipe whose other end closes when this process is gone."""
        theirs, ours = os.pipe()
        try:
            with log.open("ab") as output:
                process = subprocess.Popen(
                    argv,
                    env={**environment, PARENT_VARIABLE: str(theirs)},
                    cwd=folder,
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                    pass_fds=[theirs],
                )
        except OSError as error:
            os.close(ours)
            raise JobError(f"cannot start {argv[0]}: {error}") from error
        finally:
            os.close(theirs)
        return _ProcessGroup(process, ours)


class _ProcessGroup:
    """One child and all that it started; `lifeline` is this end of the pipe."""

    def __init__(self, process: subprocess.Popen[bytes], lifeline: int) -> None:
        self._process = process
        self._lifeline: int | None = lifeline
        self._polling = threading.Lock()

    def poll(self) -> int | None:
        with self._polling:
            code = self._process.poll()
            if code is not None and self._lifeline is not None:
                self._signal(signal.SIGKILL)  # what the job left running
                os.close(self._lifeline)
                self._lifeline = None
            return code

    def terminate(self) -> None:
        self._signal(signal.SIGTERM)

    def kill(self) -> None:
        self._signal(signal.SIGKILL)
        self._process.wait()
        self.poll()

    def _signal(self, number: int) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, number)


def end(job: RunningJob, grace_s: float) -> None:
    """Ask a job to end, and kill it after `grace_s` seconds."""
    job.terminate()
    deadline = time.monotonic() + grace_s
    while job.poll() is None and time.monotonic() < deadline:
        time.sleep(0.02)
    job.kill()
