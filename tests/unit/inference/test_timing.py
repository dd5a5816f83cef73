from __future__ import annotations

import logging

import numpy as np
import torch

from mlpipe.errors import DataError
from mlpipe.inference.engine import ExportedModel, predict_logits
from mlpipe.inference.timing import TimedPass, run_in_turns


def test_a_pass_returns_the_same_logits_and_says_what_was_measured(snapshot, exported, token_rows, mean_of_tokens):
    model, rows = exported(mean_of_tokens()), snapshot(token_rows([3, 5, 2, 8])).rows()
    each = TimedPass(model, rows, 10)

    run_in_turns([each])

    timing = each.timing(1)
    np.testing.assert_array_equal(each.logits, predict_logits(model, rows, 10))
    assert (timing.num_rows, timing.latency_rows, timing.models_in_turns) == (4, 4, 1)
    assert timing.samples_per_second > 0
    assert 0 < timing.latency_median_ms <= timing.latency_p99_ms
    assert (timing.threads, timing.torch_version) == (torch.get_num_threads(), torch.__version__)


def test_latency_is_measured_on_at_most_200_rows(snapshot, exported, token_rows, mean_of_tokens):
    each = TimedPass(exported(mean_of_tokens()), snapshot(token_rows([2] * 301)).rows(), 512)

    run_in_turns([each])

    assert (each.timing(1).num_rows, each.timing(1).latency_rows) == (301, 200)


def test_models_take_turns_by_the_share_of_their_rows(snapshot, exported, token_rows, mean_of_tokens):
    rows = snapshot(token_rows([4] * 24)).rows()
    model = exported(mean_of_tokens())
    passes = [TimedPass(model, rows, budget) for budget in (8, 16)]
    turns: list[tuple[int, int]] = []

    class Watched(TimedPass):
        def step(self) -> bool:
            turns.append((passes.index(self), self.done))
            return super().step()

    for each in passes:
        each.__class__ = Watched
    run_in_turns(passes)

    assert turns[:6] == [(0, 0), (1, 0), (0, 2), (0, 4), (1, 4), (0, 6)]
    assert [each.done for each in passes] == [24, 24]


def test_a_model_that_fails_leaves_the_others_to_run(snapshot, export, token_rows, mean_of_tokens, tmp_path):
    rows = snapshot(token_rows([3, 9])).rows()
    fixed = ExportedModel.load(export(mean_of_tokens(), tmp_path / "fixed", seq_dynamic=False, max_length=8))
    broken = TimedPass(fixed, rows, 512)
    sound = TimedPass(ExportedModel.load(export(mean_of_tokens(), tmp_path / "sound")), rows, 512)

    run_in_turns([broken, sound])

    assert isinstance(broken.error, DataError)
    assert "row 'row-1' has length 9" in str(broken.error)
    assert broken.done == 0
    assert sound.error is None
    assert sound.done == 2


def test_a_warning_about_long_rows_comes_once(snapshot, exported, token_rows, mean_of_tokens, caplog):
    with caplog.at_level(logging.WARNING, logger="mlpipe"):
        run_in_turns([TimedPass(exported(mean_of_tokens(), max_length=4), snapshot(token_rows([3, 9])).rows(), 512)])

    assert len(caplog.records) == 1
