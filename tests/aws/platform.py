"""What all jobs of one fake share: S3, CloudWatch, the script, the command that plays the image, and an end."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aws.faults import Script
from aws.objects import Objects

TICK = 0.03
"""How often a running job is looked at, in seconds."""


@dataclass
class Platform:
    """The machinery behind the service.

    `grace` is the time between SIGTERM and SIGKILL, in seconds. When `closing` is set, every job is killed.
    """

    objects: Objects
    logs: Any
    script: Script
    command: Sequence[str]
    root: Path
    grace: float
    closing: threading.Event = field(default_factory=threading.Event)
    _threads: list[threading.Thread] = field(default_factory=list)

    def spawn(self, function: Callable[..., None], *arguments: Any) -> None:
        """Run a function in a thread that `close` waits for."""
        thread = threading.Thread(target=function, args=arguments, daemon=True)
        self._threads.append(thread)
        thread.start()

    def close(self) -> None:
        """End every job; nothing runs when this returns."""
        self.closing.set()
        for thread in self._threads:
            thread.join()
