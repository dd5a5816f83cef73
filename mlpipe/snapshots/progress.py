"""Progress of long work, as log lines that a terminal shows in place."""

from __future__ import annotations

import logging
import time

INTERVAL_S = 2.0

logger = logging.getLogger(__name__)


class Progress:
    """Logs how many rows are done, at most every two seconds."""

    def __init__(self, verb: str, total: int | None = None) -> None:
        self._verb = verb
        self._of_total = f" of {total:,}" if total is not None else ""
        self._last = time.monotonic()

    def report(self, rows: int) -> None:
        """Say that `rows` are done in all, unless it was said just before."""
        now = time.monotonic()
        if now - self._last >= INTERVAL_S:
            self._last = now
            logger.info("progress: %s %s%s rows", self._verb, f"{rows:,}", self._of_total)
