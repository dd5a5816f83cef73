from __future__ import annotations

import pytest
from botocore.exceptions import ClientError, ReadTimeoutError
from moto_server import client
from sqs_server import FilledQueue, make_queue, wait_until

from mlpipe.errors import QueueError, QueueUnavailable
from mlpipe.workflow.queue import SqsQueue, is_transient, open_queue


def refusal(code: str, status: int) -> ClientError:
    return ClientError({"Error": {"Code": code}, "ResponseMetadata": {"HTTPStatusCode": status}}, "ReceiveMessage")


def test_a_message_tells_how_often_it_was_delivered(queue: FilledQueue):
    sent = queue.send("body")
    opened = open_queue(queue.url, 60)
    [first] = opened.receive(10, 0)
    opened.give_back([first])
    [second] = opened.receive(10, 0)
    assert [first.id, second.id] == sent * 2
    assert (first.body, first.receive_count, second.receive_count) == ("body", 1, 2)


def test_a_hidden_message_comes_again(queue: FilledQueue):
    queue.send("body")
    opened = open_queue(queue.url, 600)
    [message] = opened.receive(1, 0)
    opened.hide(message, 1)
    wait_until(lambda: opened.receive(1, 1))


def test_a_deleted_message_is_gone(queue: FilledQueue):
    queue.send("body")
    opened = open_queue(queue.url, 60)
    opened.delete(opened.receive(1, 0)[0])
    assert queue.is_empty()


def test_a_redrive_policy_is_seen(queue: FilledQueue, sqs: str):
    assert open_queue(queue.url, 60).has_redrive_policy()
    assert not open_queue(make_queue(sqs, max_receives=None).url, 60).has_redrive_policy()


def test_a_queue_that_is_not_there_is_named(queue: FilledQueue):
    with pytest.raises(QueueError, match=r"could not receive from .*-nowhere: .*does not exist") as caught:
        open_queue(f"{queue.url}-nowhere", 60).receive(1, 0)
    assert not isinstance(caught.value, QueueUnavailable)


def test_a_queue_that_does_not_answer_may_be_there_later(queue: FilledQueue):
    dead = client("sqs", "http://127.0.0.1:1")
    with pytest.raises(QueueUnavailable, match="could not receive from"):
        SqsQueue(queue.url, 60, patient=dead, prompt=dead).receive(1, 0)


def test_the_region_is_read_from_the_url(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("AWS_CONFIG_FILE", "/dev/null")
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION"):
        monkeypatch.delenv(name, raising=False)
    open_queue("https://sqs.eu-west-1.amazonaws.com/1/q", 60)
    with pytest.raises(QueueError, match="region"):
        open_queue("http://localhost/1/q", 60)


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (refusal("RequestThrottled", 403), True),
        (refusal("InternalError", 500), True),
        (refusal("TooManyRequestsException", 429), True),
        (ReadTimeoutError(endpoint_url="http://x"), True),
        (refusal("AccessDenied", 403), False),
        (refusal("NoSuchKey", 404), False),
        (ValueError("no pages"), False),
    ],
)
def test_what_may_pass_is_told_from_what_will_not(error: Exception, expected: bool):
    assert is_transient(error) is expected
