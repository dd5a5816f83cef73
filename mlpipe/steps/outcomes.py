"""What steps deliver, as data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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
    report: str | None
    """Where report.html is; None where there is none."""

    def failure(self) -> MlpipeError | None:
        """The error of the models that failed; see `failure_of`."""
        return failure_of(self.run.run_num, self.failed, is_any_done=bool(self.comparison["models"]))


def failure_of(run_num: int, failed: Sequence[ModelOutcome], *, is_any_done: bool) -> MlpipeError | None:
    """PartialFailure where some models of a run failed, the first model's own error where all did, else None."""
    if not failed:
        return None
    names = ", ".join(outcome.model_name for outcome in failed)
    if is_any_done:
        return PartialFailure(
            f"run {run_num}: {names} failed, the other models are done",
            hint="the same command again, without --new, does only what is missing",
        )
    cls = error_classes().get(failed[0].error_class, MlpipeError)
    return cls(f"run {run_num}: no model came through ({names}). {failed[0].error}")
