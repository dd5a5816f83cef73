from __future__ import annotations

from typing import Any

import pytest

from mlpipe.cli.console import print_run, print_runs, print_summary
from mlpipe.runs import ExperimentTree
from mlpipe.specs import ModelOutcome
from mlpipe.steps.outcomes import RunSummary

ESTIMATE = {"value": 0.9, "low": 0.85, "high": 0.95}
TIMING = {"samples_per_second": 120.4, "latency_p99_ms": 12.5}
RECORD = {
    "run_num": 1,
    "status": "failed",
    "updated": "now",
    "location": "/data/runs/1",
    "snapshot": "abc",
    "test_openings": 2,
    "comparison": {"models": []},
    "models": {},
}


def entry(name: str, plan: str) -> dict[str, Any]:
    parity = {"plan": plan, "max_difference": 3e-7}
    return {"model_name": name, "num_rows": 57, "accuracy": ESTIMATE, "macro_f1": ESTIMATE, "parity": parity}


def test_a_table_says_for_which_shapes_an_export_is_right(capsys: pytest.CaptureFixture[str]):
    models = [entry("free", "any batch, any length"), entry("bound", "one row, the longest length")]
    timings = {"free": TIMING, "bound": TIMING}
    run = ExperimentTree("e").run(3)
    comparison = {"models": models, "conclusion": "so it is"}
    print_summary(RunSummary(run, "/tmp/runs/3", True, comparison, timings, (), "/tmp/runs/3/report.html"))
    printed = capsys.readouterr().out
    assert "57" in printed
    assert "0.900 [0.850, 0.950]" in printed
    assert "any batch, any length: off by 3e-07" in printed
    assert "one row, the longest length: off by 3e-07" in printed
    assert "run 3 (committed): /tmp/runs/3" in printed
    assert "report: /tmp/runs/3/report.html" in printed
    assert "so it is" in printed


def test_texts_that_look_like_markup_are_printed_as_they_are(capsys: pytest.CaptureFixture[str]):
    outcome = ModelOutcome("m[/x]", "bad [/tag] :on: [red]", "JobError")
    record = RECORD | {
        "location": "/data [old]/runs/1",
        "comparison": {"models": [], "failed": [{"model_name": outcome.model_name, "error": outcome.error}]},
        "state": {"error": "it ended [early]"},
    }
    print_run(record, as_json=False)
    printed = capsys.readouterr().out
    for text in (
        "m[/x]: failed: bad [/tag] :on: [red]",
        "/data [old]/runs/1",
        "error: it ended [early]",
        "opened 2 times",
    ):
        assert text in printed


@pytest.mark.parametrize(
    ("second", "said"),
    [
        ({"billable_seconds": 5}, "billable: 25 seconds of machines"),
        ({}, "billable: not known, since SageMaker has not said it of every job"),
    ],
)
def test_what_a_run_is_billed_is_told_as_a_whole_or_not_at_all(
    second: dict[str, int], said: str, capsys: pytest.CaptureFixture[str]
):
    machine = {"instance_type": "ml.m5.xlarge", "instance_count": 1}
    first = {"name": "train-m", **machine, "instance_count": 2, "billable_seconds": 10}
    print_run(RECORD | {"state": {"jobs": [first, {"name": "infer", **machine, **second}]}}, as_json=False)
    assert said in capsys.readouterr().out.splitlines()


def test_a_run_on_this_machine_has_no_bill(capsys: pytest.CaptureFixture[str]):
    print_run(RECORD | {"state": {"jobs": [{"name": "train-m", "seconds": 2.0}]}}, as_json=False)
    assert "billable" not in capsys.readouterr().out


def test_an_experiment_without_runs_says_how_to_make_one(capsys: pytest.CaptureFixture[str]):
    print_runs([], "e", as_json=False)
    assert "mlpipe run" in capsys.readouterr().out
    print_runs([], "e", as_json=True)
    assert capsys.readouterr().out == "[]\n"
