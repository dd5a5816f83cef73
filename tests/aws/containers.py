"""The containers of one attempt: one process group for each machine."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from aws.layout import Machine

GUARD = Path(__file__).with_name("guard.py")


class Container:
    """What plays the image on one machine, with the command's own environment and nothing of this process's."""

    def __init__(self, command: Sequence[str], environment: Mapping[str, str], machine: Machine) -> None:
        self.machine = machine
        self._code: int | None = None
        theirs, self._lifeline = os.pipe()
        try:
            with machine.log.open("ab") as log:
                self._process = subprocess.Popen(
                    [sys.executable, "-I", "-S", str(GUARD), str(theirs), *command],
                    env=dict(environment),
                    cwd=machine.home,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                    pass_fds=[theirs],
                )
        finally:
            os.close(theirs)

    def code(self) -> int | None:
        """The exit code; 128 + n where the signal n ended the command, None while it runs."""
        if self._code is None:
            # Not reaped before `close`: until then nobody else's process group can get this number.
            ended = os.waitid(os.P_PID, self._process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            if ended is not None:
                has_exited = ended.si_code == os.CLD_EXITED
                self._code = ended.si_status if has_exited else 128 + ended.si_status
        return self._code

    def terminate(self) -> None:
        """Send SIGTERM to the command."""
        os.kill(self._process.pid, signal.SIGTERM)

    def close(self) -> None:
        """Kill whatever is left of the process group, once; its first process is gone when this returns."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        os.close(self._lifeline)
