"""From the tree of a run to the findings that its report shows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from mlpipe.catalog import prepared_of, settings_of, test_openings
from mlpipe.costs import cost_usd, seconds_of, training_jobs
from mlpipe.errors import UsageError
from mlpipe.report.findings import Document, ModelFindings, RunFindings, Tuning
from mlpipe.report.predictions import Predictions
from mlpipe.report.rows import read_rows
from mlpipe.runs import ExperimentTree, RunTree
from mlpipe.settings import Settings
from mlpipe.storage import Storage
from mlpipe.storage.claims import is_run_committed
from mlpipe.storage.documents import read_document
from mlpipe.storage.units import Unit, is_committed, open_unit

SHOWN_MISTAKES = 20


def gather(storage: Storage, tree: ExperimentTree, run: RunTree) -> RunFindings:
    """Read everything that the report of a run shows; what it quotes is checked against the manifests.

    Raises UsageError where no model of the run was tested yet, IntegrityError where a file was altered.
    """
    root = open_unit(storage, run.root) if is_run_committed(storage, run) else None
    comparison = root.read_json("comparison.json") if root else read_document(storage, run.comparison)
    if not comparison.get("models"):
        raise UsageError(
            f"run {run.run_num} has no model that was tested: there is nothing to report",
            hint=f"`mlpipe resume {run.run_num}` completes it",
        )
    record = root.read_json("run.json") if root else read_document(storage, run.state)
    settings_text = root.read("settings.ini") if root else storage.read(run.settings)
    prepared, settings = prepared_of(storage, tree, run), settings_of(storage, run)
    jobs = tuple(record.get("jobs", ()))
    models = tuple(_model(storage, run, entry, jobs, settings) for entry in comparison["models"])
    for model in models:
        if model.tuning:
            settings = settings.with_hyperparameters(model.name, model.tuning.best["hyperparameters"])
    findings = RunFindings(
        experiment=tree.name,
        run_num=run.run_num,
        location=storage.locate(run.root),
        committed=record.get("committed", ""),
        snapshot=comparison["snapshot"],
        test_openings=test_openings(storage, tree, run),
        functions=record.get("functions", ""),
        settings_text=settings_text.decode("utf-8", "replace"),
        settings=settings.to_json(),
        card=prepared.read_json("data_card.json"),
        comparison=comparison,
        jobs=jobs,
        cost_usd=cost_usd(jobs, settings.sagemaker),
        models=models,
        rows={},
    )
    return _with_rows(findings, prepared, settings.data.text_column)


def _model(
    storage: Storage, run: RunTree, scores: Document, jobs: tuple[Document, ...], settings: Settings
) -> ModelFindings:
    name = scores["model_name"]
    model, inference = open_unit(storage, run.model(name)), open_unit(storage, run.inference(name))
    labels = tuple(model.read_json("id2label.json").values())
    predictions = Predictions.read(inference)
    metrics = model.read_json("metrics.json")
    own_jobs = training_jobs(jobs, name)
    return ModelFindings(
        name=name,
        location=storage.locate(model.key),
        scores=scores,
        statistics=inference.read_json("statistics.json"),
        metrics=metrics,
        timing=inference.read_json("timing.json"),
        signature=model.read_json("signature.json"),
        parity=model.read_json("parity.json"),
        history=model.read_json_lines("history.jsonl"),
        labels=labels,
        confusion=predictions.confusion(labels),
        mistakes=predictions.mistakes(SHOWN_MISTAKES),
        model_bytes=model.files["model.pt"].size,
        num_parameters=metrics.get("parameters"),
        training_seconds=seconds_of(own_jobs),
        training_usd=cost_usd(own_jobs, settings.sagemaker),
        tuning=_tuning(storage, run, name),
    )


def _tuning(storage: Storage, run: RunTree, model_name: str) -> Tuning | None:
    if not is_committed(storage, run.tuning(model_name)):
        return None
    unit = open_unit(storage, run.tuning(model_name))
    return Tuning(unit.read_json("best.json"), unit.read_json_lines("trials.jsonl"))


def _with_rows(findings: RunFindings, prepared: Unit, text_column: str | None) -> RunFindings:
    """The same findings with what stands in the rows that they name."""
    rows = read_rows(prepared, "test", set(_named(findings)), text_column)

    def told(model: ModelFindings) -> ModelFindings:
        mistakes = (replace(mistake, row=rows[mistake.row.row_id]) for mistake in model.mistakes)
        return replace(model, mistakes=tuple(mistakes))

    return replace(findings, models=tuple(told(model) for model in findings.models), rows=rows)


def _named(findings: RunFindings) -> Iterator[str]:
    for model in findings.models:
        yield from (mistake.row.row_id for mistake in model.mistakes)
    for pair in findings.comparison["pairs"]:
        yield from (example["row_id"] for example in _examples(pair))


def _examples(pair: Mapping[str, Any]) -> list[dict[str, str]]:
    return list(pair.get("examples", ()))
