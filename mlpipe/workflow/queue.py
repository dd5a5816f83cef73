"""An SQS queue as a worker sees it; every request and every error of the service is here.

https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_ReceiveMessage.html and its neighbours.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Sequence
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectionError,
    HTTPClientError,
    IncompleteReadError,
)

from mlpipe.errors import QueueError, QueueUnavailable
from mlpipe.workflow.service import Message

MAX_BATCH = 10
"""Messages that one request receives or extends at most."""
MAX_WAIT_SECONDS = 20
"""The longest poll that the service allows."""
MAX_VISIBILITY_SECONDS = 43_200

TRANSIENT_ERRORS = (HTTPClientError, ConnectionError, IncompleteReadError)
"""What botocore raises where no answer came, or only a part of one."""
_BUSY_CODES = frozenset(
    {"RequestThrottled", "Throttling", "ThrottlingException", "RequestLimitExceeded", "SlowDown", "RequestTimeout"}
)


class SqsQueue:
    """One queue, and the visibility timeout with which its messages are received; used by many threads.

    Every method raises QueueUnavailable where the request may succeed later, and QueueError where it will not.
    """

    def __init__(self, url: str, visibility: int, *, patient: Any, prompt: Any) -> None:
        """Use two clients of the service: a `patient` one, and a `prompt` one for what must not take long."""
        self.url = url
        self.visibility = visibility
        self._patient = patient
        self._prompt = prompt

    def receive(self, limit: int, wait: int) -> list[Message]:
        """Receive at most `limit` messages, after `wait` seconds at the latest."""
        with _wrapped_errors("receive from", self.url):
            answer = self._patient.receive_message(
                QueueUrl=self.url,
                MaxNumberOfMessages=min(limit, MAX_BATCH),
                WaitTimeSeconds=min(wait, MAX_WAIT_SECONDS),
                VisibilityTimeout=self.visibility,
                MessageSystemAttributeNames=["ApproximateReceiveCount"],
            )
        return [_message(found) for found in answer.get("Messages", ())]

    def extend(self, messages: Sequence[Message]) -> dict[str, str]:
        """Let the visibility timeout of each message start anew.

        Returns, by receipt, what the queue said where it refused: that message is no longer ours.
        """
        return self._change_visibility(messages, self.visibility)

    def give_back(self, messages: Sequence[Message]) -> None:
        """Let others receive the messages at once; one that is no longer ours needs nothing."""
        self._change_visibility(messages, 0)

    def hide(self, message: Message, seconds: int) -> None:
        """Keep a message from everybody for `seconds`, and deliver it again then."""
        with _wrapped_errors("change a visibility of", self.url):
            self._patient.change_message_visibility(
                QueueUrl=self.url, ReceiptHandle=message.receipt, VisibilityTimeout=min(seconds, MAX_VISIBILITY_SECONDS)
            )

    def delete(self, message: Message) -> None:
        """Remove a message for good."""
        with _wrapped_errors("delete from", self.url):
            self._patient.delete_message(QueueUrl=self.url, ReceiptHandle=message.receipt)

    def has_redrive_policy(self) -> bool:
        """Whether the queue puts aside what was received too often."""
        with _wrapped_errors("read the attributes of", self.url):
            answer = self._patient.get_queue_attributes(QueueUrl=self.url, AttributeNames=["RedrivePolicy"])
        return bool(answer.get("Attributes", {}).get("RedrivePolicy"))

    def _change_visibility(self, messages: Sequence[Message], seconds: int) -> dict[str, str]:
        refused: dict[str, str] = {}
        for start in range(0, len(messages), MAX_BATCH):
            refused |= self._change_batch(messages[start : start + MAX_BATCH], seconds)
        return refused

    def _change_batch(self, messages: Sequence[Message], seconds: int) -> dict[str, str]:
        entries = [
            {"Id": str(number), "ReceiptHandle": message.receipt, "VisibilityTimeout": seconds}
            for number, message in enumerate(messages)
        ]
        with _wrapped_errors("change visibilities of", self.url):
            answer = self._prompt.change_message_visibility_batch(QueueUrl=self.url, Entries=entries)
        # What is the service's own fault is tried again at the next heartbeat, and is no refusal.
        return {
            messages[int(entry["Id"])].receipt: f"{entry['Code']}: {entry.get('Message', '')}".rstrip(": ")
            for entry in answer.get("Failed", ())
            if entry["SenderFault"] and entry["Code"] not in _BUSY_CODES
        }


def open_queue(url: str, visibility: int) -> SqsQueue:
    """Make the clients for a queue; nothing is sent yet.

    Region and credentials are boto3's to find, as is AWS_ENDPOINT_URL; a URL of AWS itself names its region.
    """
    match = re.match(r"https://sqs\.([a-z0-9-]+)\.amazonaws\.com(\.cn)?/", url)
    with _wrapped_errors("make a client for", url):
        session = boto3.session.Session(region_name=match[1] if match else None)
        patient = session.client("sqs", config=_config(read_timeout=MAX_WAIT_SECONDS + 10, attempts=5))
        # Two attempts of a heartbeat have to fit between two heartbeats.
        prompt = session.client("sqs", config=_config(read_timeout=max(1.0, visibility / 6), attempts=2))
    return SqsQueue(url, visibility, patient=patient, prompt=prompt)


def is_transient(error: BaseException) -> bool:
    """Whether an error of boto3 says that the same request may succeed later."""
    if isinstance(error, ClientError):
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        return error.response.get("Error", {}).get("Code") in _BUSY_CODES or status == 429 or status >= 500
    return isinstance(error, TRANSIENT_ERRORS)


def _config(*, read_timeout: float, attempts: int) -> Config:
    return Config(
        connect_timeout=min(5.0, read_timeout),
        read_timeout=read_timeout,
        retries={"mode": "standard", "total_max_attempts": attempts},
        max_pool_connections=50,
    )


def _message(found: Any) -> Message:
    count = int(found.get("Attributes", {}).get("ApproximateReceiveCount", 1))
    return Message(id=found["MessageId"], body=found["Body"], receive_count=count, receipt=found["ReceiptHandle"])


@contextlib.contextmanager
def _wrapped_errors(action: str, url: str) -> Iterator[None]:
    try:
        yield
    except (BotoCoreError, ClientError) as error:
        if is_transient(error):
            raise QueueUnavailable(f"could not {action} {url}: {error}", hint="try again later") from error
        raise QueueError(
            f"could not {action} {url}: {error}",
            hint="check the URL of the queue, the region (AWS_REGION), the credentials and their permissions",
        ) from error
