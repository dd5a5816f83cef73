"""What steps deliver, as data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mlpipe.errors import MlpipeError, PartialFailure, error_classes
from mlpipe.runs import RunTree
from mlpipe.specs import ModelOutcome
from mlpipe.storage.units import Unit


@dataclass(frozen=True)
class Snapshot:
    """A committed data snapshot: its address, whether it was made before, and why."""

    unit: Unit
    address: str
    is_reused: bool
    reason: str


@dataclass(frozen=True)
class RunSummary:
    """A run as the user wants to see it in the end: comparison.json and the models that are missing from it."""

    run: RunTree
    location: str
    is_committed: bool
    comparison: Mapping[str, Any]
    timings: Mapping[str, Mapping[str, Any]]
    failed: tuple[ModelOutcome, ...]

    def failure(self) -> MlpipeError | None:
        """PartialFailure where some models failed, the first model's own error where all did, else None."""
        if not self.failed:
            return None
        names = ", ".join(outcome.model_name for outcome in self.failed)
        if self.comparison["models"]:
            return PartialFailure(
                f"run {self.run.run_num}: {names} failed, the other models are done",
                hint="the same command again does only what is missing",
            )
        first = self.failed[0]
        cls = error_classes().get(first.error_class, MlpipeError)
        return cls(f"run {self.run.run_num}: no model came through ({names}). {first.error}")
