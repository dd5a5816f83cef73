"""Which model is in production, and which were before: production.json of an experiment."""

from __future__ import annotations

import getpass
import os
import socket
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

from mlpipe.errors import IntegrityError, MlpipeError, StorageError, UsageError
from mlpipe.manifest import to_bytes
from mlpipe.runs import ExperimentTree, RunTree
from mlpipe.storage import Storage
from mlpipe.storage.claims import is_run_committed
from mlpipe.storage.documents import read_document
from mlpipe.storage.units import Unit, open_unit


@dataclass(frozen=True)
class Promotion:
    """One model that was put into production.

    `model_sha256` is that of its manifest, `macro_f1` was measured on the test set that `test_sha256` identifies.
    """

    run_num: int
    model_name: str
    model_sha256: str
    macro_f1: float
    test_sha256: str
    promoted: str
    """When, in UTC."""
    by: str
    reason: str
    is_forced: bool


def production_of(storage: Storage, tree: ExperimentTree) -> Promotion:
    """The model in production; UsageError where there is none."""
    history = _history(storage, tree)
    if not history:
        raise UsageError(
            f"experiment {tree.name} has no model in production",
            hint="`mlpipe promote N --model M` puts one there",
        )
    return history[-1]


def history_of(storage: Storage, tree: ExperimentTree) -> list[Promotion]:
    """Every promotion so far, the newest first."""
    return _history(storage, tree)[::-1]


def promote(
    storage: Storage, tree: ExperimentTree, run: RunTree, model_name: str, *, reason: str, force: bool
) -> Promotion:
    """Put a model of a committed run into production.

    Raises UsageError where the run is not committed or has no such model, and, unless `force` is given, MlpipeError
    where the model is not seen to be as good as the present one; StorageError where somebody else promotes meanwhile.
    """
    present = storage.read(tree.production) if storage.exists(tree.production) else None
    history = _history(storage, tree)
    candidate = _candidate(storage, run, model_name, reason=reason, force=force)
    if history and not force:
        _check_not_worse(candidate, history[-1])
    document = {"current": asdict(candidate), "history": [asdict(each) for each in [*history, candidate]]}
    if not storage.replace(tree.production, to_bytes(document), present):
        raise StorageError(
            f"{storage.locate(tree.production)} was changed by somebody else meanwhile",
            hint="`mlpipe show production` says by whom; promote again if it is still right",
        )
    return candidate


def _candidate(storage: Storage, run: RunTree, model_name: str, *, reason: str, force: bool) -> Promotion:
    if not is_run_committed(storage, run):
        raise UsageError(f"run {run.run_num} is not committed", hint=f"`mlpipe resume {run.run_num}` completes it")
    comparison = open_unit(storage, run.root).read_json("comparison.json")
    entry = _entry(comparison, run, model_name)
    model = open_unit(storage, run.model(model_name))
    _check_model(model, run, model_name)
    return Promotion(
        run_num=run.run_num,
        model_name=model_name,
        model_sha256=model.sha256,
        macro_f1=entry["macro_f1"]["value"],
        test_sha256=comparison["test_sha256"],
        promoted=datetime.now(UTC).isoformat(timespec="seconds"),
        by=f"{_user()}@{socket.gethostname()}",
        reason=reason,
        is_forced=force,
    )


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # in a container, a user may have no name
        return str(os.getuid())


def _entry(comparison: Mapping[str, Any], run: RunTree, model_name: str) -> Mapping[str, Any]:
    for entry in comparison["models"]:
        if entry["model_name"] == model_name:
            found: Mapping[str, Any] = entry
            return found
    names = ", ".join(entry["model_name"] for entry in comparison["models"])
    raise UsageError(f"run {run.run_num} has no model {model_name}", hint=f"its models are {names}")


def _check_model(model: Unit, run: RunTree, model_name: str) -> None:
    """What goes into production has to be what was committed, file by file, and to equal the model that was trained."""
    for name in model.files:
        model.read(name)
    if not model.read_json("parity.json")["is_equal"]:
        raise MlpipeError(f"run {run.run_num}: the export of {model_name} does not equal the model that was trained")


def _check_not_worse(candidate: Promotion, present: Promotion) -> None:
    now = f"run {present.run_num}, {present.model_name} is in production"
    if candidate.test_sha256 != present.test_sha256:
        raise MlpipeError(
            f"{now}, and was measured on another test set: which of the two is better is not known",
            hint="train and test both in one run, MODEL_NAMES = a, b, or give --force",
        )
    if candidate.macro_f1 < present.macro_f1:
        raise MlpipeError(
            f"{now}, with macro F1 {present.macro_f1:.4f}; {candidate.model_name} of run {candidate.run_num} has "
            f"{candidate.macro_f1:.4f} on the same test set",
            hint="give --force to promote it all the same",
        )


def _history(storage: Storage, tree: ExperimentTree) -> list[Promotion]:
    """Every promotion so far, the oldest first."""
    document = read_document(storage, tree.production)
    try:
        return [Promotion(**entry) for entry in document.get("history", [])]
    except TypeError as error:
        place = storage.locate(tree.production)
        raise IntegrityError(f"{place} is not a history of promotions: {error}", hint="restore it") from error
