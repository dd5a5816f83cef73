"""Row 30 of the fault board: duplicates, poison, a worker that is killed, a lease that is lost."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from moto_server import ENVIRONMENT
from sqs_server import FilledQueue, make_queue, wait_until

pytestmark = pytest.mark.faults

FOLDER = Path(__file__).parent


@dataclass
class Workers:
    """Processes of `mlpipe worker` on one queue, and the folder that they write to."""

    queue: FilledQueue
    endpoint: str
    output: Path
    processes: list[subprocess.Popen[str]] = field(default_factory=list)

    @property
    def slow(self) -> Path:
        return self.output / "slow"

    def start(self, writer: str, *options: str) -> subprocess.Popen[str]:
        environment = {"OUTPUT": str(self.output), "WRITER": writer, "PYTHONPATH": str(FOLDER.parents[1])}
        process = subprocess.Popen(
            [sys.executable, "-m", "mlpipe", "worker", "queue_service:Documents", "--queue", self.queue.url, *options],
            cwd=FOLDER,
            env=os.environ | ENVIRONMENT | environment | {"AWS_ENDPOINT_URL": self.endpoint},
            stderr=subprocess.PIPE,
            text=True,
        )
        self.processes.append(process)
        return process

    def start_slow(self, writer: str, *options: str) -> tuple[subprocess.Popen[str], str]:
        """A process that is at a document for as long as `slow` is there, and its receipt handle.

        One thread: a worker with a free one has a poll open, and the server would answer it even after a kill.
        """
        self.slow.touch()
        process = self.start(writer, "--threads", "1", *options)
        mark = self.output / f"at-work-{process.pid}"
        wait_until(lambda: process.poll() is not None or (mark.exists() and mark.read_text()))
        return process, mark.read_text()

    def texts(self) -> dict[str, str]:
        """What was written, by message id."""
        return {path.parent.name: path.read_text() for path in self.output.glob("*/text.txt")}


@pytest.fixture
def workers(sqs: str, tmp_path: Path) -> Iterator[Workers]:
    workers = Workers(make_queue(sqs), sqs, tmp_path)
    yield workers
    for process in workers.processes:
        process.kill()
        process.communicate()


def ended(process: subprocess.Popen[str], code: int = 0) -> list[dict[str, object]]:
    """The records of the messages that a process logged; it has to end by itself, with this exit code."""
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == code, stderr
    assert "Traceback" not in stderr
    records = [json.loads(line) for line in stderr.splitlines() if line.startswith("{")]
    return [record for record in records if record["event"] == "message"]


def document(text: str) -> str:
    return json.dumps({"text": text})


def test_a_message_that_is_delivered_twice_has_one_output(workers: Workers):
    sent = workers.queue.send(document("a"))
    first, receipt = workers.start_slow("one", "--max-messages", "1", "--visibility", "600")
    workers.queue.client.change_message_visibility(
        QueueUrl=workers.queue.url, ReceiptHandle=receipt, VisibilityTimeout=0
    )
    second, _ = workers.start_slow("other", "--max-messages", "1", "--visibility", "600")
    workers.slow.unlink()
    records = ended(first) + ended(second)
    assert [(record["message_id"], record["outcome"]) for record in records] == [(sent[0], "done")] * 2
    assert list(workers.texts()) == sent
    assert workers.queue.is_empty()


def test_a_document_outlives_the_visibility_timeout_by_heartbeats(workers: Workers):
    sent = workers.queue.send(document("outlives"))
    [record] = ended(workers.start("one", "--max-messages", "1", "--visibility", "2"))
    assert record["outcome"] == "done"
    assert record["heartbeats"] >= 4
    assert record["receive_count"] == 1
    assert workers.texts() == {sent[0]: "outlives, by one"}


def test_poison_is_put_aside_after_as_many_attempts_as_the_queue_says(workers: Workers):
    poison, fine = workers.queue.send("{not json", document("fine"))
    process = workers.start("one", "--visibility", "2", "--grace", "2")
    wait_until(lambda: workers.queue.dead() == 1)
    process.send_signal(signal.SIGTERM)
    records = ended(process)
    attempts = [record for record in records if record["message_id"] == poison]
    assert [record["receive_count"] for record in attempts] == [1, 2]
    assert {record["outcome"] for record in attempts} == {"failed"}
    assert "is not JSON" in str(attempts[0]["error"])
    assert workers.texts() == {fine: "fine, by one"}
    assert workers.queue.is_empty()


def test_a_document_of_a_killed_worker_is_processed_by_another(workers: Workers):
    sent = workers.queue.send(document("a"))
    killed, _ = workers.start_slow("killed", "--visibility", "2")
    killed.kill()
    killed.wait()
    workers.slow.unlink()
    [record] = ended(workers.start("other", "--max-messages", "1", "--visibility", "60"))
    assert (record["outcome"], record["receive_count"]) == ("done", 2)
    assert workers.texts() == {sent[0]: "a, by other"}
    assert workers.queue.is_empty()


def test_a_worker_that_comes_back_after_its_lease_was_lost_writes_nothing(workers: Workers):
    sent = workers.queue.send(document("a"))
    frozen, _ = workers.start_slow("frozen", "--max-messages", "1", "--visibility", "2")
    frozen.send_signal(signal.SIGSTOP)
    workers.slow.unlink()
    [record] = ended(workers.start("other", "--max-messages", "1", "--visibility", "60"))
    assert record["outcome"] == "done"
    frozen.send_signal(signal.SIGCONT)
    [record] = ended(frozen)
    assert record["outcome"] == "lost"
    assert "was not renewed in time" in str(record["error"])
    assert workers.texts() == {sent[0]: "a, by other"}


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 0), (signal.SIGINT, 130)])
def test_a_stopped_worker_gives_back_what_it_cannot_end(workers: Workers, number: signal.Signals, code: int):
    sent = workers.queue.send(document("a"))
    process, _ = workers.start_slow("one", "--grace", "1", "--visibility", "600")
    process.send_signal(number)
    [record] = ended(process, code)
    assert record["outcome"] == "given_back"
    assert workers.queue.visible() == sent
    assert workers.texts() == {}


def test_a_stopped_worker_ends_the_document_within_the_grace_period(workers: Workers):
    sent = workers.queue.send(document("a"))
    process, _ = workers.start_slow("one", "--grace", "60")
    process.send_signal(signal.SIGTERM)
    workers.slow.unlink()
    assert [record["outcome"] for record in ended(process)] == ["done"]
    assert list(workers.texts()) == sent
    assert workers.queue.is_empty()
