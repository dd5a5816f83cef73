"""`mlpipe promote`: which model is in production, who put it there, and what is refused."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import pytest
from e2e.project import Finished, Project, error_of

import mlpipe
from mlpipe.errors import IntegrityError, StorageError
from mlpipe.production import history_of, promote
from mlpipe.runs import ExperimentTree
from mlpipe.storage import LocalStorage

TREE = ExperimentTree("tiny")


@pytest.fixture
def project(finished: Finished, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A copy of the finished experiment, for tests that change it."""
    monkeypatch.setattr("sys.path", list(sys.path))
    monkeypatch.delitem(sys.modules, "functions", raising=False)  # that of another test
    return Project(Path(shutil.copytree(finished[0].folder, tmp_path / "project")))


def set_macro_f1(project: Project, value: float) -> None:
    """Let production.json say that the present model scored so much."""
    path = project.tree / "production.json"
    document = json.loads(path.read_text())
    document["history"][-1]["macro_f1"] = value
    path.write_text(json.dumps(document))


def test_the_newest_promotion_is_in_production_and_the_history_says_who_and_why(project: Project):
    nothing = project.mlpipe("show", "production").stdout
    assert "nothing is in production" in nothing
    done = project.mlpipe("promote", "1", "--model", "small", "--reason", "the first one")
    assert done.stdout.startswith("small of run 1 is in production")
    project.mlpipe("promote", "1", "--model", "large", "--force")
    newest, first = json.loads(project.mlpipe("show", "production", "--json").stdout)
    assert (newest["model_name"], newest["is_forced"]) == ("large", True)
    assert (first["model_name"], first["reason"], first["is_forced"]) == ("small", "the first one", False)
    assert "@" in first["by"]
    assert "the first one" in project.mlpipe("show", "production").stdout
    predictor = mlpipe.load_model(project.tree)
    assert (predictor.run_num, predictor.model_name) == (1, "large")


def test_a_worse_model_is_refused_unless_it_is_forced(project: Project):
    project.mlpipe("promote", "1", "--model", "small")
    set_macro_f1(project, 1.1)
    before = (project.tree / "production.json").read_bytes()
    refused = project.mlpipe("promote", "1", "--model", "large", code=1)
    assert "small is in production, with macro F1 1.1000; large of run 1 has" in error_of(refused)
    assert (project.tree / "production.json").read_bytes() == before
    project.mlpipe("promote", "1", "--model", "large", "--force")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("1", "--model", "medium"), "run 1 has no model medium\n  its models are "),
        (("2", "--model", "small"), "experiment tiny has no run 2"),
    ],
)
def test_a_model_that_does_not_exist_is_answered_with_those_that_do(project: Project, arguments, message: str):
    assert message in error_of(project.mlpipe("promote", *arguments, code=2))
    assert not (project.tree / "production.json").exists()


def test_a_run_that_is_not_committed_is_refused(project: Project):
    (project.run / "_SUCCESS").unlink()
    assert "run 1 is not committed" in error_of(project.mlpipe("promote", "1", "--model", "small", code=2))


def test_an_altered_model_is_not_promoted_and_not_loaded(project: Project):
    storage = LocalStorage(project.folder / "storage")
    promote(storage, TREE, TREE.run(1), "small", reason="", force=False)
    path = project.run / "models" / "small" / "model.pt"
    path.write_bytes(path.read_bytes() + b"#")
    with pytest.raises(IntegrityError, match=r"model\.pt has changed"):
        promote(storage, TREE, TREE.run(1), "small", reason="", force=True)
    with pytest.raises(IntegrityError, match=r"model\.pt has changed"):
        mlpipe.load_model(project.tree)


class Overtaken(LocalStorage):
    """A storage in which somebody else always promotes a moment before."""

    def replace(self, key: str, data: bytes, expected: bytes | None) -> bool:
        self.write(key, b'{"history": []}')
        return super().replace(key, data, expected)


def test_of_two_promotions_at_once_the_later_is_refused(project: Project):
    storage = Overtaken(project.folder / "storage")
    with pytest.raises(StorageError, match=r"production\.json was changed by somebody else"):
        promote(storage, TREE, TREE.run(1), "small", reason="", force=False)
    assert history_of(storage, TREE) == []
