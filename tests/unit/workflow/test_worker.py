from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace

import pytest
from botocore.exceptions import EndpointConnectionError
from moto_server import client
from sqs_server import ActingService, FilledQueue, make_queue, wait_until

from mlpipe.errors import LeaseLost, PlanError, PoisonMessage, QueueError, StorageError
from mlpipe.workflow import Pipeline
from mlpipe.workflow.handling import Backoff
from mlpipe.workflow.queue import SqsQueue, open_queue
from mlpipe.workflow.service import LEASE, MESSAGE, Message, Service
from mlpipe.workflow.worker import Worker, WorkerOptions

UNTIL_EMPTY = WorkerOptions(ends_when_empty=True)
SOON = Backoff(first=1, draw=lambda: 0.0)


@dataclass
class Running:
    """Workers in threads of their own, and what they logged."""

    records: list[Mapping[str, object]] = field(default_factory=list)
    workers: list[tuple[Worker, threading.Thread]] = field(default_factory=list)

    def start(self, queue: SqsQueue, service: Service, options: WorkerOptions) -> Worker:
        worker = Worker(queue, service, options, self.records.append)
        thread = threading.Thread(target=worker.run, daemon=True)
        self.workers.append((worker, thread))
        thread.start()
        return worker

    def join(self) -> None:
        for _, thread in self.workers:
            thread.join(60)
            assert not thread.is_alive()

    def messages(self) -> list[Mapping[str, object]]:
        return [record for record in self.records if record["event"] == "message"]


@pytest.fixture
def running() -> Iterator[Running]:
    running = Running()
    yield running
    for worker, _ in running.workers:
        worker.stop()
        worker.stop()
    running.join()


def run(
    queue: FilledQueue, service: Service, options: WorkerOptions = UNTIL_EMPTY, visibility: int = 60
) -> list[Mapping[str, object]]:
    """Run a worker to its end, and return its records."""
    records: list[Mapping[str, object]] = []
    Worker(open_queue(queue.url, visibility), service, options, records.append).run()
    return records


def outcomes(records: list[Mapping[str, object]]) -> list[object]:
    return [record["outcome"] for record in records if record["event"] == "message"]


def failing(*errors: BaseException | None) -> Callable[[Pipeline], object]:
    """An action that fails in turn with each error, where there is one."""
    turns = iter(errors)

    def act(pipeline: Pipeline) -> object:
        if error := next(turns):
            raise error
        return "done"

    return act


def test_every_message_is_processed_once_and_deleted(queue: FilledQueue):
    sent = queue.send(*map(str, range(7)))
    seen: list[str] = []
    records = run(queue, ActingService(lambda pipeline: seen.append(pipeline[MESSAGE].body)))
    assert sorted(seen) == list("0123456")
    assert sorted(record["message_id"] for record in records if record["event"] == "message") == sorted(sent)
    assert records[-1] == {"event": "stopped", "done": 7}
    assert queue.is_empty()


def test_no_more_messages_are_received_than_threads_are_free(queue: FilledQueue, running: Running):
    queue.send(*map(str, range(5)))
    at_work, may_end = threading.Semaphore(0), threading.Event()

    def wait(pipeline: Pipeline) -> None:
        at_work.release()
        may_end.wait(60)

    running.start(open_queue(queue.url, 60), ActingService(wait), replace(UNTIL_EMPTY, threads=2))
    assert at_work.acquire(timeout=60)
    assert at_work.acquire(timeout=60)
    assert queue.hidden() == 2
    may_end.set()
    running.join()
    assert queue.is_empty()


def test_it_ends_after_so_many_messages(queue: FilledQueue):
    queue.send(*map(str, range(5)))
    assert outcomes(run(queue, ActingService(failing(*[None] * 5)), WorkerOptions(max_messages=3))) == ["done"] * 3
    assert len(queue.visible()) == 2


@pytest.mark.parametrize(
    "error",
    [
        TimeoutError("busy"),
        StorageError("the bucket does not answer"),
        EndpointConnectionError(endpoint_url="http://x"),
    ],
)
def test_a_failure_that_may_pass_hides_the_message_for_a_while_and_is_made_up_for(queue: FilledQueue, error: Exception):
    queue.send("a")
    service = ActingService(failing(error, None), retryable=(TimeoutError,))
    records = run(queue, service, WorkerOptions(max_messages=2, backoff=SOON), visibility=600)
    first, second = [record for record in records if record["event"] == "message"]
    assert (first["outcome"], first["receive_count"], first["retry_in"]) == ("retry", 1, 1)
    assert first["notes"] == ["while Acting was running"]
    assert (second["outcome"], second["receive_count"]) == ("done", 2)
    assert queue.is_empty()


@pytest.mark.parametrize("error", [ValueError("no pages"), SystemExit(0), PoisonMessage("no document")])
def test_any_other_failure_is_left_to_the_redrive_policy(queue: FilledQueue, error: BaseException):
    queue.send("a")
    records = run(queue, ActingService(failing(error)), WorkerOptions(max_messages=1))
    assert outcomes(records) == ["failed"]
    assert queue.hidden() == 1  # neither deleted nor given back: it comes again after its visibility timeout


def test_a_message_of_which_no_pipeline_can_be_made_is_put_aside_after_some_attempts(queue: FilledQueue):
    class Parsing(ActingService):
        def pipeline(self, message: Message) -> Pipeline:
            return Pipeline(message.json())

    queue.send("{not json", "{}")
    service = Parsing(lambda pipeline: "done")
    records = run(queue, service, WorkerOptions(max_messages=3), visibility=2)
    assert sorted(map(str, outcomes(records))) == ["done", "failed", "failed"]
    wait_until(lambda: queue.visible() == [] and queue.dead() == 1)
    assert queue.is_empty()


def test_a_message_that_outlasts_the_visibility_timeout_is_delivered_once(queue: FilledQueue):
    queue.send("long")

    def outlast(pipeline: Pipeline) -> list[str]:
        lease = pipeline[LEASE]
        wait_until(lambda: lease.renewals >= 4 or not lease.is_held)
        assert queue.visible() == []
        return []

    records = run(queue, ActingService(outlast), WorkerOptions(max_messages=1), visibility=2)
    assert outcomes(records) == ["done"]
    assert next(record for record in records if record["event"] == "message")["heartbeats"] >= 4
    assert queue.is_empty()


def lose(pipeline: Pipeline) -> None:
    wait_until(lambda: not pipeline[LEASE].is_held)


def lose_and_ask(pipeline: Pipeline) -> None:
    lose(pipeline)
    pipeline[LEASE].require()


@pytest.mark.parametrize("action", [lose, lose_and_ask])
def test_a_message_whose_lease_ran_out_is_not_deleted(queue: FilledQueue, action: Callable[[Pipeline], None]):
    queue.send("a")
    silent = SqsQueue(queue.url, 1, patient=queue.client, prompt=client("sqs", "http://127.0.0.1:1"))
    records: list[Mapping[str, object]] = []
    Worker(silent, ActingService(action), WorkerOptions(max_messages=1), records.append).run()
    assert outcomes(records) == ["lost"]
    assert outcomes(run(queue, ActingService(failing(None)), WorkerOptions(max_messages=1))) == ["done"]


def test_a_lease_that_the_queue_refuses_to_extend_ends_while_the_task_runs(queue: FilledQueue):
    queue.send("a")

    def withdraw(pipeline: Pipeline) -> None:
        queue.client.delete_message(QueueUrl=queue.url, ReceiptHandle=pipeline[MESSAGE].receipt)
        lose(pipeline)
        with pytest.raises(LeaseLost, match="the queue did not extend it"):
            pipeline[LEASE].require()

    assert outcomes(run(queue, ActingService(withdraw), WorkerOptions(max_messages=1), visibility=3)) == ["lost"]


def test_a_message_that_cannot_be_deleted_is_reported(queue: FilledQueue):
    queue.send("a")

    def remove_queue(pipeline: Pipeline) -> None:
        queue.client.delete_queue(QueueUrl=queue.url)

    records = run(queue, ActingService(remove_queue), WorkerOptions(max_messages=1))
    [record] = [record for record in records if record["event"] == "message"]
    assert record["outcome"] == "done"
    assert "does not exist" in str(record["queue_error"])


def test_what_ends_within_the_grace_period_is_done(queue: FilledQueue, running: Running):
    queue.send("a", "b")
    at_work = threading.Event()

    def end_after_stop(pipeline: Pipeline) -> None:
        at_work.set()
        wait_until(lambda: any(record["event"] == "stopping" for record in running.records))

    options = WorkerOptions(threads=1, grace=60)
    worker = running.start(open_queue(queue.url, 60), ActingService(end_after_stop), options)
    assert at_work.wait(60)
    worker.stop()
    running.join()
    assert outcomes(running.records) == ["done"]
    assert len(queue.visible()) == 1  # nothing is received after the stop


@pytest.mark.parametrize(("grace", "stops"), [(1, 1), (600, 2)], ids=["after the grace period", "when asked twice"])
def test_the_rest_is_given_back_and_its_lease_ends(queue: FilledQueue, running: Running, grace: int, stops: int):
    sent = queue.send("a")
    leases: list[object] = []
    may_end = threading.Event()

    def hang(pipeline: Pipeline) -> None:
        leases.append(pipeline[LEASE])
        may_end.wait(60)

    worker = running.start(open_queue(queue.url, 600), ActingService(hang), WorkerOptions(grace=grace))
    wait_until(lambda: leases)
    for _ in range(stops):
        worker.stop()
    running.join()
    assert not leases[0].is_held
    assert outcomes(running.records) == ["given_back"]
    assert queue.visible() == sent
    may_end.set()


def test_what_an_open_poll_brings_after_the_stop_is_given_back(queue: FilledQueue, running: Running):
    worker = running.start(open_queue(queue.url, 600), ActingService(failing()), WorkerOptions(grace=60))
    wait_until(lambda: running.records)
    worker.stop()
    wait_until(lambda: any(record["event"] == "stopping" for record in running.records))
    sent = queue.send("late")
    running.join()
    assert set(outcomes(running.records)) <= {"given_back"}
    assert queue.visible() == sent


def test_a_queue_without_a_redrive_policy_is_warned_of_once(queue: FilledQueue, sqs: str):
    records = run(make_queue(sqs, max_receives=None), ActingService(failing()))
    assert [record["event"] for record in records] == ["warning", "started", "stopped"]
    assert "no redrive policy" in str(records[0]["warning"])
    assert [record["event"] for record in run(queue, ActingService(failing()))] == ["started", "stopped"]


def test_a_queue_that_is_not_there_ends_the_worker(queue: FilledQueue):
    missing = replace(queue, url=f"{queue.url}-nowhere")
    with pytest.raises(QueueError, match=r"-nowhere: .*does not exist"):
        run(missing, ActingService(failing()))


def test_a_plan_that_does_not_fit_is_refused_before_anything_is_received(queue: FilledQueue):
    class Empty(ActingService):
        def tasks(self) -> list[object]:
            return []

    queue.send("a")
    with pytest.raises(PlanError, match="at least one task"):
        run(queue, Empty(failing()))
    assert queue.hidden() == 0


def test_the_workflow_is_imported_without_the_worker_and_boto3():
    code = (
        "import mlpipe.workflow, sys; sys.exit(any(name in sys.modules for name in ('boto3', 'mlpipe.workflow.queue')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
