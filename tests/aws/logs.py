"""The logs of containers on their way to CloudWatch: complete lines, one stream for each machine and attempt."""

from __future__ import annotations

import contextlib
import threading
import time
from collections import deque
from pathlib import Path
from typing import Any

MAX_BATCH = 1_000
GROUPS = {kind: f"/aws/sagemaker/{kind}Jobs" for kind in ("Training", "Processing")}


def forget_logs(client: Any) -> None:
    """Delete all logs: job names are unique within one fake, and not within the server that keeps their logs."""
    for group in GROUPS.values():
        with contextlib.suppress(client.exceptions.ResourceNotFoundException):
            client.delete_log_group(logGroupName=group)


class LogTail:
    """A growing file, read by complete lines."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._position = 0

    def lines(self, *, at_end: bool = False) -> list[str]:
        """The lines that are new; `at_end` counts one without its newline, too."""
        with self._path.open("rb") as file:
            file.seek(self._position)
            content = file.read()
        complete = len(content) if at_end else content.rfind(b"\n") + 1
        self._position += complete
        return content[:complete].decode("utf-8", "replace").splitlines()


class LogStream:
    """One stream; with a delay, lines are kept back so many seconds."""

    def __init__(self, client: Any, group: str, name: str, delay: float = 0.0) -> None:
        self._client, self._group, self.delay = client, group, delay
        self._waiting: deque[tuple[float, str]] = deque()
        self.name = self._create(name)

    def add(self, lines: list[str]) -> None:
        """Take lines that were written now; empty ones have no place in CloudWatch."""
        now = time.time()
        self._waiting.extend((now, line) for line in lines if line)

    def ship(self) -> None:
        """Send what is due."""
        due: list[dict[str, object]] = []
        while self._waiting and self._waiting[0][0] + self.delay <= time.time() and len(due) < MAX_BATCH:
            written, line = self._waiting.popleft()
            due.append({"timestamp": int(written * 1000), "message": line})
        if due:
            self._client.put_log_events(logGroupName=self._group, logStreamName=self.name, logEvents=due)

    def ship_rest(self, closing: threading.Event) -> None:
        """Send everything, each line when it is due; returns early where `closing` is set."""
        while self._waiting and not closing.is_set():
            self.ship()
            closing.wait(min(0.02, self.delay))

    def ship_after(self, end: threading.Event, closing: threading.Event) -> None:
        """Send everything that is left when the job has ended, which its last lines come after, however short it is."""
        while not end.wait(0.02) and not closing.is_set():
            pass
        self.ship_rest(closing)

    def _create(self, prefix: str) -> str:
        """Create the stream under a name that ends with a number like a time, as the service's do."""
        exists = self._client.exceptions.ResourceAlreadyExistsException
        with contextlib.suppress(exists):
            self._client.create_log_group(logGroupName=self._group)
        number = int(time.time())
        while True:
            try:
                self._client.create_log_stream(logGroupName=self._group, logStreamName=f"{prefix}-{number}")
            except exists:
                number += 1
            else:
                return f"{prefix}-{number}"
