"""The card of one model: a page of Markdown, with the metadata block that the Hugging Face Hub reads.

Source: https://huggingface.co/docs/hub/model-cards.
"""

from __future__ import annotations

from mlpipe import __version__
from mlpipe.report.findings import Document, ModelFindings, RunFindings
from mlpipe.report.page import environment, warnings


def render_model_card(findings: RunFindings, model: ModelFindings) -> str:
    """The card of a model of the run."""
    ranked = sorted(model.statistics["per_label"], key=lambda label: (label["f1"], label["label"]))
    versions: Document = next((job["versions"] for job in reversed(findings.jobs) if "versions" in job), {})
    return (
        environment()
        .get_template("model_card.md.j2")
        .render(
            run=findings,
            model=model,
            ranked=ranked,
            warnings=list(warnings(findings)),
            versions=versions,
            version=__version__,
        )
    )
