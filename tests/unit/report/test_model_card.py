from __future__ import annotations

import ast
from typing import Any

import pytest
import yaml
from unit.report.made_up import run_findings

from mlpipe.report.model_card import render_model_card
from mlpipe.report.page import yaml_text


@pytest.fixture
def card() -> str:
    findings = run_findings(3, 2, is_tuned=True)
    return render_model_card(findings, findings.models[1])


def test_the_metadata_is_yaml_with_the_scores(card: str):
    _, block, _ = card.split("---\n", 2)
    metadata: dict[str, Any] = yaml.safe_load(block)
    (entry,) = metadata["model-index"]
    assert entry["name"] == "model-1"
    assert [metric["type"] for metric in entry["results"][0]["metrics"]] == ["accuracy", "f1"]
    scores = run_findings(3, 2).models[1].scores
    assert entry["results"][0]["metrics"][0]["value"] == pytest.approx(scores["accuracy"]["value"], abs=1e-6)


def test_what_stands_in_labels_and_errors_is_no_markup(card: str):
    assert "\\<b\\>&\\</b\\>" in card
    assert "<b>" not in card
    assert "<script>" not in card


def test_it_names_the_limits_the_versions_and_how_to_load(card: str):
    for expected in ("- broken failed", "2 groups have rows in several splits", "torch 2.13.0", "mlpipe.load_model("):
        assert expected in card
    assert "EPOCHS = 2, POOLING = \\<mean\\>." in card


@pytest.mark.parametrize(
    "text", ["é🎉", "\x00\t\n\x1f", "\x7f\x85\x9f", "\u2028\u2029", "\ufeff\uffff", "\ud83c", "\"\\'", "\\u0041"]
)
def test_yaml_and_python_read_any_text_as_it_was(text: str):
    written = yaml_text(f"a{text}b")
    assert yaml.safe_load(f"name: {written}\n") == {"name": f"a{text}b"}
    assert ast.literal_eval(written) == f"a{text}b"
    assert written.encode(), "it can be written to a file"
