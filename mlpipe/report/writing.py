"""report.html and the model cards of a run: written beside what was committed, and made again at any time."""

from __future__ import annotations

from mlpipe.report.gather import gather
from mlpipe.report.model_card import render_model_card
from mlpipe.report.page import render_page
from mlpipe.runs import ExperimentTree, RunTree
from mlpipe.storage import Storage


def write_report(storage: Storage, tree: ExperimentTree, run: RunTree) -> tuple[str, ...]:
    """Write the report of a run and the card of each of its models; returns where they lie, the report first.

    They belong to no manifest, and replace those of before. Raises UsageError where no model was tested yet,
    IntegrityError where a file that is quoted was altered.
    """
    findings = gather(storage, tree, run)
    pages = {run.report: render_page(findings)}
    pages |= {run.model_card(model.name): render_model_card(findings, model) for model in findings.models}
    for key, content in pages.items():
        storage.write(key, content.encode())
    return tuple(storage.locate(key) for key in pages)
