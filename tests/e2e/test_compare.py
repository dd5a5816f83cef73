"""Models side by side, of one run and of several."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from e2e.project import Finished, Project, error_of, make_project

DEADLY_IMPORT = """
import os, sys

class Death:
    @staticmethod
    def find_spec(name, path=None, target=None):
        if name == "sklearn.feature_extraction.text":
            os._exit(9)

sys.meta_path.insert(0, Death)
"""


def test_a_run_says_how_its_models_differ_and_what_follows(finished: Finished):
    comparison = json.loads((finished[0].run / "comparison.json").read_text())
    (pair,) = comparison["pairs"]
    assert [pair["first"], pair["second"]] == [entry["model_name"] for entry in comparison["models"]]
    best, other = comparison["models"]
    difference = best["accuracy"]["value"] - other["accuracy"]["value"]
    assert abs(pair["accuracy_difference"]["value"] - difference) < 1e-12
    assert set(pair["per_label_f1"]) == {"fruit", "metal", "river"}
    assert comparison["cochran_q"] is None
    assert comparison["conclusion"] in finished[1].stdout.replace("\n", " ")
    assert sum(each["rows"] for each in best["calibration"]["bins"]) == best["num_rows"]


def test_every_model_is_held_against_the_majority_class_and_a_linear_model_on_words(finished: Finished):
    comparison = json.loads((finished[0].run / "comparison.json").read_text())
    yardsticks = comparison["yardsticks"]
    assert yardsticks["skipped"] == {}
    majority, words = yardsticks["measured"]
    assert majority["accuracy"]["value"] < 0.5 < words["accuracy"]["value"]
    scores = {entry["model_name"]: entry["accuracy"]["value"] for entry in comparison["models"]}
    for each in (majority, words):
        for margin in each["margins"]:
            own = scores[margin["model_name"]] - each["accuracy"]["value"]
            assert abs(margin["accuracy_difference"]["value"] - own) < 1e-12
    assert comparison["conclusion"].endswith(yardsticks["verdict"])
    assert "is not seen to beat the linear model on words in accuracy" in yardsticks["verdict"]
    assert "yardstick: the linear model on words: accuracy" in finished[1].stdout


def test_finished_runs_on_the_same_rows_are_compared(finished_copy: Project):
    finished_copy.mlpipe("run", "--set", "hyperparameters.epochs=1", "--set", "experiment.model_names=small")
    shown = finished_copy.mlpipe("compare", "1", "2").stdout
    for name in ("large@1", "small@1", "small@2"):
        assert name in shown
    document = json.loads(finished_copy.mlpipe("compare", "1", "2", "--json").stdout)
    assert len(document["pairs"]) == 3
    assert document["cochran_q"]["p_value"] <= 1
    for amount in ("training_seconds", "model_bytes", "parameters"):
        assert all(line[amount] > 0 for line in document["models"])
    assert {line["training_usd"] for line in document["models"]} == {None}
    assert set(document["yardsticks"]) == {"1", "2"}
    assert "Run 2: small is" in document["conclusion"]
    assert shown.count("yardstick of run 1, 2: the majority class: accuracy") == 1
    test_rows = {line["num_rows"] for line in document["models"]}
    assert len(test_rows) == 1


def test_runs_on_other_rows_are_refused_with_the_first_difference(finished_copy: Project):
    finished_copy.mlpipe("run", "--set", "data.test_fraction=0.3", "--set", "experiment.model_names=small")
    error = error_of(finished_copy.mlpipe("compare", "1", "2", code=2))
    assert error.startswith(
        "runs 1 and 2 were tested on different rows: [DATA] TEST_FRACTION is 0.2 in run 1 and 0.3 in run 2"
    )


def test_what_cannot_be_compared_is_refused(finished: Finished):
    project = finished[0]
    assert "has no run 9" in error_of(project.mlpipe("compare", "1", "9", code=2))
    assert "expected one settings file or the numbers of runs" in error_of(
        project.mlpipe("compare", "1", "settings.ini", code=2)
    )


def test_of_three_models_of_which_one_fails_two_are_compared(project: Project):
    project.edit("settings.ini", "MODEL_NAMES = small, large", "MODEL_NAMES = small, large, broken")
    (project.folder / "fail-broken").touch()
    done = project.mlpipe("compare", "settings.ini", code=5)
    assert "broken: failed" in done.stdout
    assert "McNemar" in done.stdout
    assert "large - small" in done.stdout or "small - large" in done.stdout
    assert "broken failed, the other models are done" in error_of(done)
    page = (project.run / "report.html").read_text()
    assert "broken failed and is not part of this report" in page
    assert "Run 1 is not committed" in page


def test_a_yardstick_that_kills_its_job_costs_a_single_model_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    project = make_project(tmp_path / "project")
    (tmp_path / "sitecustomize.py").write_text(DEADLY_IMPORT)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=":")
    done = project.mlpipe("run", "--set", "experiment.model_names=small", "--set", "hyperparameters.epochs=1")
    assert "infer: tried again, without the linear model on words" in done.stderr
    assert "run 1 (committed)" in done.stdout
    assert "yardstick: the linear model on words is missing" in done.stdout
