"""The values that the steps hand to each other through the Pipeline."""

from __future__ import annotations

from mlpipe.specs import ModelOutcome
from mlpipe.steps.outcomes import RunSummary, Snapshot
from mlpipe.storage.claims import Claim
from mlpipe.workflow import Key

RECONCILED: Key[Snapshot] = Key("reconciled")
PREPARED: Key[Snapshot] = Key("prepared")
RUN: Key[Claim] = Key("run")
INFERRED: Key[dict[str, ModelOutcome]] = Key("inferred")
SUMMARY: Key[RunSummary] = Key("summary")


def trained(model_name: str) -> Key[ModelOutcome]:
    """What became of the training of one model."""
    return Key(f"trained.{model_name}")
