"""`mlpipe run --dry-run`: what would happen, and nothing happens."""

from __future__ import annotations

import json
from pathlib import Path

from e2e.project import Finished, Project, hashes, make_project


def planned(project: Project, *arguments: str) -> list[dict[str, object]]:
    return json.loads(project.mlpipe("run", "--dry-run", "--json", *arguments).stdout)["tasks"]


def test_the_plan_of_a_first_run_names_every_task_and_starts_nothing(tmp_path: Path):
    project = make_project(tmp_path / "project")
    before = hashes(project.folder)
    table = project.mlpipe("run", "--dry-run").stdout
    for text in ("collect the rows: it was not made before", "run 1 would be new", "TrainModel(large)", "5 jobs"):
        assert text in table
    tasks = planned(project)
    assert [(task["stage"], task["task"], task["job"]) for task in tasks] == [
        (1, "Reconcile", "reconcile"),
        (2, "Prepare", "prepare"),
        (3, "ClaimRun", None),
        (4, "TrainModel(small)", "train-small"),
        (5, "TrainModel(large)", "train-large"),
        (6, "InferModels", "infer"),
        (7, "Report", None),
    ]
    side_by_side = planned(project, "--set", "local.max_parallel_jobs=2")
    assert [task["stage"] for task in side_by_side] == [1, 2, 3, 4, 4, 5, 6]
    training = tasks[3]["request"]
    assert training["files"]["input/config/hyperparameters.json"]["learning_rate"] == "0.05"
    assert hashes(project.folder) == before


def test_the_plan_says_what_is_reused_and_what_has_changed(finished: Finished):
    project, _ = finished
    before = hashes(project.folder)
    decisions = {task["task"]: task["decision"] for task in planned(project)}
    assert decisions["Reconcile"].endswith("is reused: nothing that it is made from has changed")
    assert decisions["Prepare"].endswith("is reused: nothing that it is made from has changed")
    assert decisions["ClaimRun"] == "run 2 would be new"
    changed = {task["task"]: task["decision"] for task in planned(project, "--set", "data.test_fraction=0.3")}
    assert changed["Reconcile"] == "collect the rows: [DATA] TEST_FRACTION has changed from 0.2 to 0.3"
    assert hashes(project.folder) == before


def test_a_plan_as_json_is_asked_for_with_dry_run(tmp_path: Path):
    done = make_project(tmp_path / "project").mlpipe("run", "--json", code=2)
    assert "--json prints the plan of --dry-run" in done.stderr


def test_a_plan_refuses_a_run_that_the_command_would_refuse(finished: Finished):
    done = finished[0].mlpipe("run", "--dry-run", "--set", "experiment.run_num=1", code=2)
    assert "run 1 cannot be used: it is committed" in done.stderr
