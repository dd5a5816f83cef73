"""An SQS server for tests (moto's), a queue with a dead-letter queue on it, and services to consume it."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from moto_server import client

from mlpipe.workflow import Key, Pipeline, Task
from mlpipe.workflow.service import LEASE, MESSAGE, Message

RESULT: Key[object] = Key("result")


@dataclass(frozen=True)
class FilledQueue:
    """A queue as its producers, its operators and other consumers see it."""

    client: Any
    url: str
    dead_url: str

    def send(self, *bodies: str) -> list[str]:
        """Send messages and return their ids."""
        return [self.client.send_message(QueueUrl=self.url, MessageBody=body)["MessageId"] for body in bodies]

    def visible(self) -> list[str]:
        """The ids of what another consumer could receive now; it is left where it is."""
        answer = self.client.receive_message(QueueUrl=self.url, MaxNumberOfMessages=10, VisibilityTimeout=0)
        return [found["MessageId"] for found in answer.get("Messages", ())]

    def hidden(self) -> int:
        """How many messages somebody has received and not deleted."""
        return self._count(self.url, "ApproximateNumberOfMessagesNotVisible")

    def dead(self) -> int:
        """How many messages the redrive policy has put aside."""
        return self._count(self.dead_url, "ApproximateNumberOfMessages")

    def is_empty(self) -> bool:
        """Whether every message was deleted or put aside."""
        return self.hidden() == 0 and self._count(self.url, "ApproximateNumberOfMessages") == 0

    def _count(self, url: str, name: str) -> int:
        return int(self.client.get_queue_attributes(QueueUrl=url, AttributeNames=[name])["Attributes"][name])


def make_queue(endpoint: str, *, max_receives: int | None = 2) -> FilledQueue:
    """A new queue that puts a message aside after `max_receives` deliveries; without a redrive policy if None."""
    sqs, name = client("sqs", endpoint), uuid.uuid4().hex
    dead_url = sqs.create_queue(QueueName=f"{name}-dead")["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=dead_url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    policy = json.dumps({"deadLetterTargetArn": arn, "maxReceiveCount": max_receives})
    url = sqs.create_queue(QueueName=name, Attributes={"RedrivePolicy": policy} if max_receives else {})["QueueUrl"]
    return FilledQueue(sqs, url, dead_url)


class Acting(Task):
    """Calls a function with the pipeline, and writes what it returns."""

    input_keys = (MESSAGE, LEASE)
    output_keys = (RESULT,)

    def __init__(self, action: Callable[[Pipeline], object]) -> None:
        self._action = action

    def execute(self, pipeline: Pipeline) -> Pipeline:
        pipeline[RESULT] = self._action(pipeline)
        return pipeline


class ActingService:
    """One Task, made from a function."""

    def __init__(self, action: Callable[[Pipeline], object], retryable: tuple[type[Exception], ...] = ()) -> None:
        self._action = action
        self.retryable = retryable

    def tasks(self) -> list[Task]:
        return [Acting(self._action)]

    def pipeline(self, message: Message) -> Pipeline:
        return Pipeline()


def wait_until(condition: Callable[[], object], seconds: float = 60.0) -> None:
    """Return as soon as the condition holds; fail after `seconds`."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.01)
