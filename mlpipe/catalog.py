"""Reading the tree: which runs there are, and what stands in one of them. Nothing here writes."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from mlpipe.errors import UsageError
from mlpipe.runs import ExperimentTree, RunTree
from mlpipe.settings import Settings
from mlpipe.storage import Storage
from mlpipe.storage.claims import current_owner, fingerprint_of, is_run_committed, run_numbers
from mlpipe.storage.documents import read_document
from mlpipe.storage.units import Unit, is_committed, open_unit


@dataclass(frozen=True)
class RunLine:
    """One run in a list.

    `status` is committed, running, failed, interrupted, trained, partial, detached (its jobs go on, and `mlpipe resume
    N` takes them up), or abandoned.
    """

    run_num: int
    status: str
    updated: str
    best_model: str
    macro_f1: float | None
    location: str


def list_runs(storage: Storage, tree: ExperimentTree) -> list[RunLine]:
    """All runs of an experiment, the oldest first."""
    return [
        _line(storage, tree.run(number)) for number in run_numbers(storage, tree) if _is_claimed(storage, tree, number)
    ]


def find_run(storage: Storage, tree: ExperimentTree, run_num: int) -> RunTree:
    """The tree of a claimed run; UsageError, with the runs there are, where it does not exist."""
    if not _is_claimed(storage, tree, run_num):
        numbers = ", ".join(map(str, run_numbers(storage, tree)))
        raise UsageError(
            f"experiment {tree.name} has no run {run_num} in {storage.uri}",
            hint=f"its runs are {numbers}" if numbers else "it has no runs yet; `mlpipe run settings.ini` makes one",
        )
    return tree.run(run_num)


def newest_committed_run(storage: Storage, tree: ExperimentTree) -> RunTree:
    """The committed run with the highest number; UsageError where there is none."""
    numbers = run_numbers(storage, tree)
    for number in reversed(numbers):
        if is_run_committed(storage, tree.run(number)):
            return tree.run(number)
    unfinished = f"; run {numbers[-1]} is not committed, `--run-num {numbers[-1]}` infers it" if numbers else ""
    raise UsageError(
        f"experiment {tree.name} has no committed run in {storage.uri}",
        hint=f"`mlpipe run settings.ini` makes one{unfinished}",
    )


def show_run(storage: Storage, tree: ExperimentTree, run_num: int) -> dict[str, Any]:
    """Everything that is known of one run, as JSON values; the files that it quotes are checked against their
    manifests.

    Raises UsageError where the run does not exist and IntegrityError where a quoted file was altered.
    """
    run = find_run(storage, tree, run_num)
    record: dict[str, Any] = asdict(_line(storage, run))
    record["snapshot"] = fingerprint_of(storage, run)["snapshot"]
    record["owner"] = asdict(current_owner(storage, run))
    record["test_openings"] = test_openings(storage, tree, run)
    record["comparison"] = _comparison(storage, run)
    if is_run_committed(storage, run):
        record["record"] = open_unit(storage, run.root).read_json("run.json")
    record["models"] = {name: _show_model(storage, run, name) for name in storage.folders(run.models)}
    if storage.exists(run.state):
        record["state"] = read_document(storage, run.state)
    return record


def test_openings(storage: Storage, tree: ExperimentTree, run: RunTree) -> int:
    """How often the test set of a run was opened so far, by whatever run of the experiment.

    Test sets are the same where their (id, label) pairs are, or where they come from the same snapshot.
    """
    snapshot = tree.prepared(fingerprint_of(storage, run)["snapshot"])
    rows = _comparison(storage, run).get("test_sha256")
    if rows is None and is_committed(storage, snapshot):
        rows = open_unit(storage, snapshot).read_json("data_card.json")["test_sha256"]
    names = [name for name in storage.files(tree.test_uses) if name.endswith(".json")]
    uses = [read_document(storage, f"{tree.test_uses}/{name}", "snapshot") for name in names]
    return sum(use["snapshot"] == snapshot or (rows is not None and use.get("test_sha256") == rows) for use in uses)


def settings_of(storage: Storage, run: RunTree) -> Settings:
    """The resolved settings of a run."""
    if is_run_committed(storage, run):
        return Settings.from_json(open_unit(storage, run.root).read_json("settings.resolved.json"))
    return Settings.from_json(read_document(storage, run.resolved_settings))


def recorded_threads(storage: Storage, run: RunTree) -> int | None:
    """The threads that the jobs of a committed run had; None for an uncommitted one."""
    if not is_run_committed(storage, run):
        return None
    threads: int = open_unit(storage, run.root).read_json("run.json")["jobs"][-1]["threads"]
    return threads


def prepared_of(storage: Storage, tree: ExperimentTree, run: RunTree) -> Unit:
    """The prepared snapshot that a run was made with."""
    return open_unit(storage, tree.prepared(fingerprint_of(storage, run)["snapshot"]))


def _is_claimed(storage: Storage, tree: ExperimentTree, run_num: int) -> bool:
    return storage.exists(tree.run(run_num).claim)


def _line(storage: Storage, run: RunTree) -> RunLine:
    state = read_document(storage, run.state)
    status = state.get("status", "running")
    if is_run_committed(storage, run):
        status = "committed"
    elif status == "running" and not current_owner(storage, run).is_alive():
        status = "abandoned"
    models = _comparison(storage, run).get("models", [])
    return RunLine(
        run_num=run.run_num,
        status=status,
        updated=state.get("updated", ""),
        best_model=models[0]["model_name"] if models else "",
        macro_f1=models[0]["macro_f1"]["value"] if models else None,
        location=storage.locate(run.root),
    )


def _comparison(storage: Storage, run: RunTree) -> dict[str, Any]:
    """comparison.json, checked against the manifest of a committed run; empty before the first."""
    if is_run_committed(storage, run):
        return open_unit(storage, run.root).read_json("comparison.json")
    return read_document(storage, run.comparison)


def _show_model(storage: Storage, run: RunTree, model_name: str) -> dict[str, Any]:
    if not is_committed(storage, run.model(model_name)):
        return {"is_published": False}
    model = open_unit(storage, run.model(model_name))
    shown: dict[str, Any] = {"is_published": True, "path": storage.locate(model.key)}
    shown |= {name.removesuffix(".json"): model.read_json(name) for name in ("metrics.json", "signature.json")}
    if is_committed(storage, run.tuning(model_name)):
        shown["tuning"] = open_unit(storage, run.tuning(model_name)).read_json("best.json")
    if is_committed(storage, run.inference(model_name)):
        inference = open_unit(storage, run.inference(model_name))
        shown |= {name.removesuffix(".json"): inference.read_json(name) for name in ("statistics.json", "timing.json")}
    return shown
