from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from moto_server import ENVIRONMENT, running_server
from sqs_server import FilledQueue, make_queue

from mlpipe.cli.app import main

ROOT = Path(__file__).parents[3]
EXAMPLE = re.search(r"```python\n(.*?)```", (ROOT / "docs" / "worker.md").read_text(encoding="utf-8"), re.DOTALL)


@pytest.fixture
def queue(monkeypatch: pytest.MonkeyPatch) -> Iterator[FilledQueue]:
    with running_server() as endpoint:
        for name, value in (ENVIRONMENT | {"AWS_ENDPOINT_URL": endpoint}).items():
            monkeypatch.setenv(name, value)
        yield make_queue(endpoint)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The current folder, with the service of docs/worker.md in it."""
    assert EXAMPLE
    (tmp_path / "example_service.py").write_text(EXAMPLE[1])
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", sys.path.copy())
    yield tmp_path
    sys.modules.pop("example_service", None)


def worker(url: str, *options: str, service: str = "example_service:Documents") -> int:
    """The exit code of `mlpipe worker`."""
    with pytest.raises(SystemExit) as ended:
        main(["worker", service, "--queue", url, *options])
    return ended.value.code


def test_the_example_of_the_documentation_runs(queue: FilledQueue, folder: Path, capsys: pytest.CaptureFixture[str]):
    (folder / "a.txt").write_text("three short words")
    sent, *_ = queue.send('{"document": "a.txt"}', "{}", "not json")
    assert worker(queue.url, "--drain-and-exit", "--threads", "2") == 0
    assert json.loads((folder / f"{sent}.json").read_text()) == {"words": 3}
    output = capsys.readouterr()
    records = [json.loads(line) for line in output.err.splitlines()]
    assert [record["event"] for record in records] == ["started", "message", "message", "message", "stopped"]
    assert sorted(record["error"] for record in records if record.get("outcome") == "failed") == [
        f"PoisonMessage: {text}"
        for text in (
            f"the body of message {queue_id(records)} is not JSON: Expecting value: line 1 column 1 (char 0)",
            "the message names no document",
        )
    ]
    assert output.out == ""


def queue_id(records: list[dict[str, str]]) -> str:
    return next(record["message_id"] for record in records if "not JSON" in record.get("error", ""))


def test_a_queue_that_is_not_there_has_the_exit_code_of_the_cloud(
    queue: FilledQueue, folder: Path, capsys: pytest.CaptureFixture[str]
):
    assert worker(f"{queue.url}-nowhere") == 4
    assert "does not exist" in capsys.readouterr().err.splitlines()[-2]


def test_a_service_that_is_not_there_is_a_mistake_of_the_command_line(folder: Path, capsys: pytest.CaptureFixture[str]):
    assert worker("https://sqs.eu-west-1.amazonaws.com/1/q", service="example_service:Document") == 2
    assert "did you mean 'Documents'?" in capsys.readouterr().err


def test_a_service_that_fails_has_the_exit_code_of_user_code(folder: Path, capsys: pytest.CaptureFixture[str]):
    (folder / "example_service.py").write_text("import json\nraise RuntimeError('no weights')\n")
    assert worker("https://sqs.eu-west-1.amazonaws.com/1/q") == 3
    assert "example_service.py:2: RuntimeError: no weights" in capsys.readouterr().err


def test_without_boto3_it_says_what_to_install():
    code = """
import sys
sys.modules["boto3"] = None
from mlpipe.cli.app import main
main(["worker", "a:b", "--queue", "https://sqs.eu-west-1.amazonaws.com/1/q"])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 2
    assert done.stderr.startswith("error: a worker needs boto3\n  pip install -e '.[s3]' ")
