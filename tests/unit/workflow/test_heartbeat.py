from __future__ import annotations

import threading

import pytest
from moto_server import client
from sqs_server import FilledQueue, wait_until

from mlpipe.errors import LeaseLost
from mlpipe.workflow.heartbeat import Heartbeat
from mlpipe.workflow.queue import SqsQueue, open_queue


class Clock:
    """Seconds for the leases; the server has its own."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_a_beat_renews_every_lease_also_of_more_messages_than_one_request_holds(queue: FilledQueue, clock: Clock):
    queue.send(*map(str, range(12)))
    opened = open_queue(queue.url, 60)
    heartbeat = Heartbeat(opened, clock)
    messages = opened.receive(10, 0) + opened.receive(10, 0)
    leases = [heartbeat.add(message) for message in messages]
    clock.now = 50
    heartbeat.beat()
    clock.now = 100
    assert [lease.is_held for lease in leases] == [True] * 12


def test_a_message_stays_hidden_for_as_long_as_it_is_renewed(queue: FilledQueue):
    queue.send("long")
    opened = open_queue(queue.url, 2)
    heartbeat = Heartbeat(opened)
    [message] = opened.receive(1, 0)
    lease = heartbeat.add(message)
    thread = threading.Thread(target=heartbeat.run)
    thread.start()
    wait_until(lambda: lease.renewals >= 4 or not lease.is_held)
    heartbeat.stop()
    thread.join()
    assert lease.is_held
    assert queue.visible() == []


def test_a_message_that_is_gone_from_the_queue_is_lost(queue: FilledQueue, clock: Clock):
    queue.send("a", "b")
    opened = open_queue(queue.url, 60)
    heartbeat = Heartbeat(opened, clock)
    gone, kept = opened.receive(2, 0)
    lost, held = heartbeat.add(gone), heartbeat.add(kept)
    queue.client.delete_message(QueueUrl=queue.url, ReceiptHandle=gone.receipt)
    heartbeat.beat()
    with pytest.raises(LeaseLost, match="the queue did not extend it: .*[Hh]andle"):
        lost.require()
    assert held.is_held


def test_a_queue_that_is_gone_ends_every_lease(queue: FilledQueue, clock: Clock):
    queue.send("a")
    opened = open_queue(queue.url, 60)
    heartbeat = Heartbeat(opened, clock)
    lease = heartbeat.add(opened.receive(1, 0)[0])
    queue.client.delete_queue(QueueUrl=queue.url)
    heartbeat.beat()
    with pytest.raises(LeaseLost, match="does not exist"):
        lease.require()


def test_while_the_queue_cannot_be_reached_a_lease_lasts_to_its_own_deadline(queue: FilledQueue, clock: Clock):
    queue.send("a")
    heartbeat = Heartbeat(
        SqsQueue(queue.url, 60, patient=queue.client, prompt=client("sqs", "http://127.0.0.1:1")), clock
    )
    lease = heartbeat.add(open_queue(queue.url, 60).receive(1, 0)[0])
    clock.now = 50
    heartbeat.beat()
    assert lease.is_held
    clock.now = 55
    assert not lease.is_held


def test_a_message_that_was_taken_out_is_not_renewed_any_more(queue: FilledQueue):
    queue.send("a")
    opened = open_queue(queue.url, 60)
    heartbeat = Heartbeat(opened)
    [message] = opened.receive(1, 0)
    heartbeat.add(message)
    assert heartbeat.remove(message)
    opened.give_back([message])
    heartbeat.beat()
    assert queue.visible() == [message.id]
    assert not heartbeat.remove(message)


def test_ending_all_leases_tells_those_that_were_lost_from_the_others(queue: FilledQueue, clock: Clock):
    queue.send("a", "b")
    opened = open_queue(queue.url, 60)
    heartbeat = Heartbeat(opened, clock)
    first, second = opened.receive(2, 0)
    heartbeat.add(first)
    clock.now = 55
    lease = heartbeat.add(second)
    assert heartbeat.end_all() == ([second], [first])
    assert not lease.is_held
    assert len(heartbeat) == 0
