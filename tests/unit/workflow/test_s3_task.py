"""Tasks that leave something in a bucket or a folder."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from mlpipe.errors import PlanError, StorageError, TaskError
from mlpipe.workflow import Pipeline, S3Task, execute_task_plan, get_task_plan
from mlpipe.workflow.cancellation import Token, set_current_token
from mlpipe.workflow.s3 import RESULTS, _client


class Files(S3Task):
    input_keys = ("text",)
    output_keys = ("size",)

    def __init__(self, *names: str) -> None:
        self.names = names

    def execute(self, pipeline: Pipeline) -> Pipeline:
        for name in self.names:
            self.write_to_s3(pipeline, name, pipeline["text"].encode())
        pipeline["size"] = len(pipeline["text"])
        return pipeline


def run(task: S3Task, results: object, text: str = "abc") -> Pipeline:
    return execute_task_plan(get_task_plan([task]), Pipeline({"text": text, RESULTS: str(results)}))


def test_files_stand_below_the_results_and_a_second_delivery_writes_the_same_ones(tmp_path: Path):
    for text in ("first", "second"):
        run(Files("a.csv", "deep/b.csv"), tmp_path / "document", text)
    found = {path.relative_to(tmp_path).as_posix(): path.read_text() for path in tmp_path.rglob("*") if path.is_file()}
    assert found == {"document/a.csv": "second", "document/deep/b.csv": "second"}


def test_a_task_can_be_tried_alone(tmp_path: Path):
    pipeline = Files("a.csv").execute(Pipeline({"text": "abc", RESULTS: str(tmp_path)}))
    assert (pipeline["size"], (tmp_path / "a.csv").read_text()) == (3, "abc")


def test_a_task_that_writes_nothing_has_not_done_its_work(tmp_path: Path):
    with pytest.raises(PlanError, match="Files ended without calling write_to_s3"):
        run(Files(), tmp_path)


def test_a_writer_of_its_own_counts_as_well(tmp_path: Path):
    written: list[tuple[str, bytes]] = []

    class Elsewhere(Files):
        def write_to_s3(self, pipeline: Pipeline, filename: str, data: bytes) -> None:
            written.append((filename, data))

    run(Elsewhere("a.csv"), tmp_path)
    assert written == [("a.csv", b"abc")]
    assert list(tmp_path.iterdir()) == []


def test_where_the_results_go_has_to_be_said():
    with pytest.raises(PlanError, match="Files reads 'results', which no task writes"):
        execute_task_plan(get_task_plan([Files("a.csv")]), Pipeline({"text": "abc"}))


@pytest.mark.parametrize("name", ["../a.csv", "/a.csv", "", "a/../../b"])
def test_a_name_that_leads_elsewhere_is_refused(tmp_path: Path, name: str):
    with pytest.raises(PlanError, match="expected the name of a file below its results"):
        run(Files(name), tmp_path / "document")
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_written_by_a_task_that_nobody_waits_for(tmp_path: Path):
    token = Token()
    token.is_ended = True
    set_current_token(token)
    try:
        with pytest.raises(TaskError, match="Files is not wanted any more, and writes nothing"):
            Files("a.csv").execute(Pipeline({"text": "abc", RESULTS: str(tmp_path)}))
    finally:
        set_current_token(None)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match=r"cannot write .*file/document/a\.csv"):
        run(Files("a.csv"), tmp_path / "file" / "document")


def test_writes_from_threads_of_the_task_count_and_are_refused_alike(tmp_path: Path):
    class Parallel(Files):
        def execute(self, pipeline: Pipeline) -> Pipeline:
            with ThreadPoolExecutor(2) as pool:
                list(pool.map(lambda name: self.write_to_s3(pipeline, name, b"abc"), self.names))
            pipeline["size"] = 3
            return pipeline

    run(Parallel("a.csv", "b.csv"), tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.csv", "b.csv"]
    token = Token()
    token.is_ended = True
    set_current_token(token)
    try:
        with pytest.raises(TaskError, match="is not wanted any more"):
            Parallel("c.csv").execute(Pipeline({"text": "abc", RESULTS: str(tmp_path)}))
    finally:
        set_current_token(None)
    assert not (tmp_path / "c.csv").exists()


def test_a_client_that_cannot_be_made_is_a_storage_error(monkeypatch: pytest.MonkeyPatch):
    _client.cache_clear()
    monkeypatch.setenv("AWS_PROFILE", "there-is-no-such-profile")
    with pytest.raises(StorageError, match=r"cannot write s3://bucket/document/a\.csv"):
        run(Files("a.csv"), "s3://bucket/document")
