"""Inputs that are made ready ahead of time: the same ones, in the same order, and no thread is left behind."""

from __future__ import annotations

import threading
from collections.abc import Callable

import numpy as np
import pytest
import torch

from mlpipe.batching import EncodedRows
from mlpipe.training.classifier import load_classifier, padding_values, read_inputs
from mlpipe.training.feeding import Feed, prefetched
from mlpipe.training.job import TrainingJob
from mlpipe.training.learner import Learner
from mlpipe.training.loop import start_accelerator
from mlpipe.training.ranks import Ranks

PADDING = {"input_ids": 7, "attention_mask": 0}
PIECES = [np.array(rows) for rows in ([3, 1], [0], [], [5, 4, 2])]


def feed_of(job: TrainingJob, device: str, *, is_ahead: bool) -> Feed:
    rows = EncodedRows.open(job.train, job.encoding, "model")
    return Feed(rows, PADDING, torch.device(device), is_ahead)


def threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("prefetched")]


def test_results_come_in_order_from_one_other_thread() -> None:
    makers = set()

    def make(item: int) -> int:
        makers.add(threading.current_thread().name)
        return item * item

    with prefetched(range(20), make) as results:
        assert list(results) == [item * item for item in range(20)]
    assert len(makers) == 1
    assert threading.current_thread().name not in makers


def test_the_next_items_are_made_while_one_is_in_use_and_no_more() -> None:
    made: list[int] = []
    is_far_enough = threading.Event()

    def make(item: int) -> int:
        made.append(item)
        if item == 2:
            is_far_enough.set()
        return item

    with prefetched(range(10), make, ahead=2) as results:
        assert next(results) == 0
        assert is_far_enough.wait(timeout=60)
    assert made in ([0, 1, 2], [0, 1, 2, 3])


def test_an_error_is_raised_at_the_item_that_it_belongs_to() -> None:
    def make(item: int) -> float:
        return 1 / item

    with prefetched([2, 1, 0, 4], make) as results:
        assert [next(results), next(results)] == [0.5, 1.0]
        with pytest.raises(ZeroDivisionError):
            next(results)
    assert threads() == []


def test_the_thread_has_ended_after_whatever_ended_the_loop() -> None:
    def use_one() -> None:
        with prefetched(range(1000), str) as results:
            next(results)
            assert len(threads()) == 1
            raise KeyError("in the loop")

    with pytest.raises(KeyError):
        use_one()
    assert threads() == []


def check_same(job: TrainingJob, device: str) -> None:
    """What is handed out ahead is what is handed out without: values, types, order, device."""
    plain, ahead = (feed_of(job, device, is_ahead=is_ahead) for is_ahead in (False, True))
    with plain.ahead(PIECES):
        expected = [plain.take(rows) for rows in PIECES]
    with ahead.ahead(PIECES):
        found = [ahead.take(rows) for rows in PIECES]
        assert len(threads()) == 1
    for (inputs, labels), (same_inputs, same_labels) in zip(expected, found, strict=True):
        assert list(inputs) == list(same_inputs) == list(PADDING)
        torch.testing.assert_close(inputs, same_inputs, rtol=0, atol=0)
        assert labels.tolist() == same_labels.tolist()
        assert {value.device.type for value in (*same_inputs.values(), same_labels)} == {device}


def test_a_feed_hands_out_the_same_ahead_of_time(make_job: Callable[..., TrainingJob]) -> None:
    check_same(make_job(), "cpu")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")
def test_a_feed_hands_out_the_same_on_a_gpu(make_job: Callable[..., TrainingJob]) -> None:
    check_same(make_job(), "cuda")


def test_only_a_gpu_is_fed_by_a_thread(make_job: Callable[..., TrainingJob]) -> None:
    rows = feed_of(make_job(), "cpu", is_ahead=False).rows
    assert not Feed.of(rows, PADDING, torch.device("cpu")).is_ahead
    assert Feed.of(rows, PADDING, torch.device("cuda", 0)).is_ahead


def test_no_rows_become_the_first_row(make_job: Callable[..., TrainingJob]) -> None:
    feed = feed_of(make_job(), "cpu", is_ahead=False)
    (nothing, _), (first, _) = feed.take(np.empty(0, np.int64)), feed.take(np.zeros(1, np.int64))
    torch.testing.assert_close(nothing, first)


def test_what_is_learned_does_not_depend_on_who_feeds(make_job: Callable[..., TrainingJob]) -> None:
    settings = "[TRAINING]\nMAX_BATCH_PER_DEVICE = 5\n[HYPERPARAMETERS]\nBATCH_SIZE = 12\n"

    def weights(*, is_ahead: bool) -> dict[str, torch.Tensor]:
        job = make_job(settings=settings, name=f"ahead-{is_ahead}")
        ranks, inputs = Ranks(start_accelerator(job)), read_inputs(job)
        rows = EncodedRows.open(job.train, job.encoding, "model")
        learner = Learner.prepare(job, ranks, load_classifier(job, inputs), inputs, rows)
        learner.feed = Feed(rows, padding_values(inputs), torch.device("cpu"), is_ahead)
        learner.model.train()
        batches = learner.batches(1)
        with learner.feeding(batches):
            for batch in batches:
                learner.step(batch)
        return learner.weights()

    torch.testing.assert_close(weights(is_ahead=True), weights(is_ahead=False), rtol=0, atol=0)
