"""The step report: the models of a run side by side, what ran, the commit of the run, and its report. No job."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from mlpipe.comparing import Contestant, calibration_of, compare_models, measure_yardsticks
from mlpipe.errors import UsageError
from mlpipe.manifest import MANIFEST, SUCCESS, digest, to_bytes
from mlpipe.runs import RunTree
from mlpipe.specs import FileRecord, ModelOutcome, TaskType
from mlpipe.steps.keys import INFERRED, PREPARED, RUN, SUMMARY
from mlpipe.steps.outcomes import RunSummary
from mlpipe.steps.ownership import require_owner
from mlpipe.steps.preview import Outlook, Preview, Step
from mlpipe.steps.state import write_state
from mlpipe.steps.workplace import Workplace
from mlpipe.storage.claims import Claim
from mlpipe.storage.documents import read_document
from mlpipe.storage.units import Unit, is_committed, open_unit
from mlpipe.workflow import Pipeline


class Report(Step):
    """Writes comparison.json and run.json, commits the run when no model failed, and writes report.html."""

    input_keys = (PREPARED, RUN, INFERRED)
    output_keys = (SUMMARY,)

    def __init__(self, place: Workplace) -> None:
        self._place = place

    def execute(self, pipeline: Pipeline) -> Pipeline:
        """Write SUMMARY."""
        place, claim, outcomes = self._place, pipeline[RUN], pipeline[INFERRED]
        failed = tuple(outcome for outcome in outcomes.values() if not outcome.is_published)
        published = [name for name, outcome in outcomes.items() if outcome.is_published]
        if not is_committed(place.storage, claim.run.root):
            comparison = _comparison(place, claim, pipeline[PREPARED].unit, published, failed)
            require_owner(place.storage, claim)
            place.storage.write(claim.run.comparison, to_bytes(comparison))
            if failed:
                reasons = "; ".join(f"{outcome.model_name}: {outcome.error}" for outcome in failed)
                write_state(place, claim, "partial" if published else "failed", reasons)
            else:
                _commit_run(place, claim, pipeline[PREPARED].unit, published)
            if published:
                self._write_report(claim.run)
        pipeline[SUMMARY] = summary_of(place, claim, failed)
        return pipeline

    def _write_report(self, run: RunTree) -> None:
        """Write report.html and the model cards; where that fails, the run is what it is all the same."""
        from mlpipe.report.writing import write_report  # templates, which a plan need not load

        try:
            write_report(self._place.storage, self._place.tree, run)
        except Exception as error:
            again = f"`mlpipe report {run.run_num}` tries again"
            self._place.listener.note(f"report: it was not written: {type(error).__name__}: {error}; {again}")

    def preview(self, outlook: Outlook) -> Preview:
        """The run would be compared and committed."""
        number = outlook.run.run_num if outlook.run else "?"
        return Preview(self.name, f"compare the models and commit run {number}")


def summary_of(place: Workplace, claim: Claim, failed: Sequence[ModelOutcome] = ()) -> RunSummary:
    """A run's comparison and timings, read back from the tree."""
    storage, run = place.storage, claim.run
    comparison = read_document(storage, run.comparison)
    timings = {
        entry["model_name"]: open_unit(storage, run.inference(entry["model_name"])).read_json("timing.json")
        for entry in comparison["models"]
    }
    return RunSummary(
        run=run,
        location=storage.locate(run.root),
        is_committed=is_committed(storage, run.root),
        comparison=comparison,
        timings=timings,
        failed=tuple(failed),
        report=storage.locate(run.report) if storage.exists(run.report) else None,
    )


def _comparison(
    place: Workplace, claim: Claim, prepared: Unit, published: Sequence[str], failed: Sequence[ModelOutcome]
) -> dict[str, Any]:
    """The content of comparison.json: no times in it, so that equal runs have equal bytes."""
    card = prepared.read_json("data_card.json")
    entries = [_model_entry(place, claim, name) for name in published]
    entries.sort(key=lambda entry: (-entry["macro_f1"]["value"], entry["model_name"]))
    document = {
        "snapshot": prepared.key.rpartition("/")[2],
        "test_sha256": card["test_sha256"],
        "models": entries,
        "failed": [asdict(outcome) for outcome in failed],
    }
    if entries:
        names = [entry["model_name"] for entry in entries]
        seed, resamples = place.settings.experiment.seed, place.settings.inference.bootstrap_resamples
        contestants = [Contestant(name, claim.run, name) for name in names]
        compared = compare_models(place.storage, contestants, seed=seed, resamples=resamples)
        yardsticks = measure_yardsticks(place.storage, claim.run, names, _majority(card), place.settings)
        document |= {**compared.to_json(), "yardsticks": yardsticks}
        document["conclusion"] = f"{compared.conclusion} {yardsticks['verdict']}"
    return document


def require_majority(run: RunTree, prepared: Unit) -> None:
    """UsageError where a run cannot be completed: an mlpipe prepared its data whose data cards named no majority."""
    if "majority" not in prepared.read_json("data_card.json"):
        card = prepared.storage.locate(f"{prepared.key}/data_card.json")
        raise UsageError(
            f"run {run.run_num} cannot be completed: an earlier mlpipe prepared its data, and {card} lacks the "
            "majority class that models are compared with",
            hint="`mlpipe run settings.ini --new` prepares the data again and starts the run anew",
        )


def _majority(card: Mapping[str, Any]) -> str | tuple[str, ...]:
    """The label that most training rows have, or of multi-label data the labels, also none."""
    majority: list[str] = card["majority"]
    return majority[0] if card["task_type"] == TaskType.SINGLE_LABEL else tuple(majority)


def _model_entry(place: Workplace, claim: Claim, model_name: str) -> dict[str, Any]:
    model = open_unit(place.storage, claim.run.model(model_name))
    inference = open_unit(place.storage, claim.run.inference(model_name))
    statistics = inference.read_json("statistics.json")
    metrics = model.read_json("metrics.json")
    parity = model.read_json("parity.json")
    return {
        "model_name": model_name,
        "num_rows": statistics["num_rows"],
        "accuracy": statistics["accuracy"],
        "macro_f1": statistics["macro_f1"],
        "weighted_f1": statistics["weighted_f1"],
        "calibration": calibration_of(inference),
        "best_epoch": metrics["best_epoch"],
        "parity": {"plan": parity["plan"], "max_difference": parity["max_difference"]},
    }


def _commit_run(place: Workplace, claim: Claim, prepared: Unit, published: Sequence[str]) -> None:
    storage, run = place.storage, claim.run
    keys = [key for name in published for key in (run.model(name), run.inference(name), run.tuning(name))]
    keys.append(run.yardstick)
    units = [open_unit(storage, key) for key in keys if is_committed(storage, key)]
    record = {
        "run_num": run.run_num,
        "committed": datetime.now(UTC).isoformat(timespec="seconds"),
        "owner": asdict(claim.owner),
        "functions": place.source.sha256,
        "snapshot": {"key": prepared.key, "sha256": prepared.sha256},
        "units": {unit.key.removeprefix(f"{run.root}/"): unit.sha256 for unit in units},
        "jobs": read_document(storage, run.state).get("jobs", []),
    }
    storage.write(run.record, to_bytes(record))
    names = ["settings.ini", "settings.resolved.json", "comparison.json", "run.json"]
    names += [f"user_functions/{name}" for name in storage.files(run.user_functions)]
    names += [f"{unit.key.removeprefix(f'{run.root}/')}/{MANIFEST}" for unit in units]
    contents = {name: storage.read(f"{run.root}/{name}") for name in names}
    files = {name: asdict(FileRecord(digest(content), len(content))) for name, content in contents.items()}
    manifest = to_bytes({"files": files})
    storage.write(f"{run.root}/{MANIFEST}", manifest)
    storage.write(f"{run.root}/{SUCCESS}", f"{digest(manifest)}\n".encode())
    write_state(place, claim, "committed")
