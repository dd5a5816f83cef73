"""Whether processes are gone."""

from __future__ import annotations

import time

import psutil


def gone(pid: int) -> bool:
    """True as soon as a process has ended; False where it has not within 20 seconds."""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        if not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
            return True
        time.sleep(0.02)
    return False
