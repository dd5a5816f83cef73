"""Who of several jobs runs, and on which GPUs."""

from __future__ import annotations

import pytest

from mlpipe.backends.local.slots import Slots, machine_gpus


def test_a_slot_is_held_by_one_job_until_it_is_given_back() -> None:
    slots = Slots(2)
    assert [slots.take(), slots.take(), slots.take()] == [0, 1, None]
    slots.give_back(1)
    slots.give_back(0)
    assert [slots.take(), slots.take(), slots.take()] == [0, 1, None]


@pytest.mark.parametrize(
    ("count", "gpus", "seen"),
    [
        (2, ("0", "1", "2"), ["0,2", "1"]),
        (3, ("4", "GPU-a"), ["4", "GPU-a", "4"]),
        (1, ("0", "1"), [None]),
        (2, (), [None, None]),
    ],
)
def test_slots_share_the_gpus_of_the_machine(count: int, gpus: tuple[str, ...], seen: list[str | None]) -> None:
    slots = Slots(count, gpus)
    assert [slots.variables(slot).get("CUDA_VISIBLE_DEVICES") for slot in range(count)] == seen


def test_only_the_gpus_that_are_shown_to_the_command_are_handed_on() -> None:
    assert machine_gpus({"CUDA_VISIBLE_DEVICES": "3, GPU-b"}) == ("3", "GPU-b")
    assert machine_gpus({"CUDA_VISIBLE_DEVICES": ""}) == ()
