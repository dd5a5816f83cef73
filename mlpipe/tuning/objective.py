"""How the objective of a trial is found in its log: by the same regular expression here and in SageMaker.

It is matched by RE2, whose time grows with the length of a line alone, whatever a user writes.
"""

from __future__ import annotations

import math
from typing import Any

import re2

from mlpipe.contract import OBJECTIVE_MARK
from mlpipe.errors import SettingsError


class ObjectivePattern:
    """A compiled METRIC_REGEX; SettingsError where it is none, or would not find what the training prints."""

    def __init__(self, regex: str, metric: str) -> None:
        advice = "leave [TUNING] METRIC_REGEX empty for the line that the training prints"
        try:
            self._pattern: Any = re2.compile(regex)
        except re2.error as error:
            raise SettingsError(f"[TUNING] METRIC_REGEX = {regex}: {_text(error)}", hint=advice) from error
        if self._pattern.groups != 1:
            raise SettingsError(
                f"[TUNING] METRIC_REGEX = {regex}: it has {self._pattern.groups} groups, and one is expected",
                hint=advice,
            )
        line = f"{OBJECTIVE_MARK}{metric}=0.500000"
        if self.value_in(line) != 0.5:
            raise SettingsError(f"[TUNING] METRIC_REGEX = {regex}: it does not find 0.5 in {line!r}", hint=advice)

    def value_in(self, line: str) -> float | None:
        """The objective in a line of a log; None where there is none, or no finite number."""
        match = self._pattern.search(line)
        if not match:
            return None
        try:
            value = float(match.group(1))
        except ValueError:
            return None
        return value if math.isfinite(value) else None


def _text(error: Exception) -> str:
    reason = error.args[0] if error.args else "it cannot be compiled"
    return reason.decode() if isinstance(reason, bytes) else str(reason)
