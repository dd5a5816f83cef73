"""`mlpipe worker`: one workflow per message of a queue."""

from __future__ import annotations

import contextlib
import json
import signal
import sys
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated

import typer

from mlpipe.errors import Interrupted, UsageError, installation

if TYPE_CHECKING:
    from mlpipe.workflow.worker import Worker


def worker(
    service: Annotated[str, typer.Argument(metavar="MODULE:SERVICE", help="What to run; see docs/worker.md.")],
    queue: Annotated[str, typer.Option("--queue", metavar="URL", help="The SQS queue.")],
    threads: Annotated[int, typer.Option(min=1, help="Messages that are worked on at a time.")] = 4,
    visibility: Annotated[
        int, typer.Option(min=1, max=43_200, help="Visibility timeout in seconds, renewed while a message is at work.")
    ] = 60,
    grace: Annotated[
        int, typer.Option(min=1, help="Seconds for the messages at work after SIGTERM or SIGINT; a second one ends it.")
    ] = 30,
    max_messages: Annotated[int | None, typer.Option(min=1, help="End after so many messages.")] = None,
    drain_and_exit: Annotated[bool, typer.Option("--drain-and-exit", help="End once the queue is empty.")] = False,
) -> None:
    """Run the Tasks of a service for every message of an SQS queue, until SIGTERM.

    A message is deleted after success, hidden for a while after a failure that may pass, and left to the queue's
    redrive policy after any other. The log on stderr has one line of JSON per message.
    """
    sys.path.insert(0, str(Path.cwd()))  # as `python -m` does it
    try:
        from mlpipe.workflow.queue import open_queue  # boto3 is an extra, and none of it is needed for --help
        from mlpipe.workflow.service import load_service
        from mlpipe.workflow.worker import Worker, WorkerOptions
    except ModuleNotFoundError as error:
        if error.name not in ("boto3", "botocore"):
            raise
        raise UsageError("a worker needs boto3", hint=installation("s3")) from error
    options = WorkerOptions(threads=threads, grace=grace, max_messages=max_messages, ends_when_empty=drain_and_exit)
    running = Worker(open_queue(queue, visibility), load_service(service), options, _log)
    with _stopped_by_signals(running) as received:
        running.run()
    if signal.SIGINT in received:
        raise Interrupted("interrupted; what was at work is done or given back to the queue")


@contextlib.contextmanager
def _stopped_by_signals(running: Worker) -> Iterator[list[int]]:
    """Stop the worker at SIGTERM and SIGINT; gives the list of those that came."""
    received: list[int] = []

    def stop(number: int, _: FrameType | None) -> None:
        received.append(number)
        running.stop()

    before = {number: signal.signal(number, stop) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _log(record: Mapping[str, object]) -> None:
    line = json.dumps({"time": datetime.now(UTC).isoformat(timespec="milliseconds"), **record}, ensure_ascii=False)
    sys.stderr.write(line + "\n")  # in one piece: several threads write
    sys.stderr.flush()
