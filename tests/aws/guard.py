"""Runs a command and ends it when the pipe's other end closes: `python guard.py DESCRIPTOR COMMAND...`.

It stands between the fake and what plays a container, so that nothing outlives a fake that was killed, while the
container's environment stays as the platform makes it. SIGTERM reaches the command's own process alone, as
`docker stop` sends it; the exit code is the command's, and 128 + n where the signal n ended it.
"""

import os
import signal
import subprocess
import sys
import threading


def main(descriptor: int, command: list[str]) -> int:
    """Run the command; returns its exit code."""
    early: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, _: early.append(number))
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL)
    signal.signal(signal.SIGTERM, lambda number, _: process.send_signal(number))
    if early:
        process.send_signal(signal.SIGTERM)

    def watch() -> None:
        os.read(descriptor, 1)
        os.killpg(0, signal.SIGKILL)

    threading.Thread(target=watch, daemon=True).start()
    code = process.wait()
    return code if code >= 0 else 128 - code


if __name__ == "__main__":
    raise SystemExit(main(int(sys.argv[1]), sys.argv[2:]))
