from __future__ import annotations

import pytest

from mlpipe.errors import LeaseLost
from mlpipe.workflow.lease import Lease


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def lease(clock: Clock) -> Lease:
    return Lease("m-1", 10, clock)


def test_a_lease_ends_before_the_queue_delivers_the_message_again(lease: Lease, clock: Clock):
    clock.now += 8.9
    assert lease.is_held
    clock.now += 0.2
    assert not lease.is_held


def test_a_renewal_counts_from_when_its_request_was_sent(lease: Lease, clock: Clock):
    clock.now += 5
    lease.renew(sent_at=103, seconds=10)
    clock.now = 103 + 8.9
    assert lease.is_held
    clock.now = 103 + 9.1
    assert not lease.is_held
    assert lease.renewals == 1


def test_a_lease_that_has_run_out_is_never_held_again(lease: Lease, clock: Clock):
    clock.now += 9.1
    lease.renew(sent_at=clock.now, seconds=10)
    assert not lease.is_held
    assert lease.renewals == 0


def test_a_lease_that_was_ended_is_not_renewed(lease: Lease, clock: Clock):
    lease.end("the queue did not extend it")
    lease.renew(sent_at=clock.now, seconds=10)
    assert not lease.is_held


def test_require_passes_while_the_lease_is_held_and_then_names_message_and_reason(lease: Lease, clock: Clock):
    lease.require()
    clock.now += 9.1
    with pytest.raises(LeaseLost, match="message m-1 has ended: it was not renewed in time"):
        lease.require()


def test_the_first_reason_is_kept(lease: Lease):
    lease.end("the queue did not extend it")
    lease.end("the worker stops")
    with pytest.raises(LeaseLost, match="the queue did not extend it"):
        lease.require()
