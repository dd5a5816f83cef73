from __future__ import annotations

import logging

import numpy as np
import pytest
import torch

from mlpipe.errors import DataError
from mlpipe.inference.engine import predict_logits
from mlpipe.inference.timing import timed_predict


def test_the_timed_pass_returns_the_same_logits_and_says_what_was_measured(
    snapshot, exported, token_rows, mean_of_tokens
):
    model, rows = exported(mean_of_tokens()), snapshot(token_rows([3, 5, 2, 8])).rows()

    logits, timing = timed_predict(model, rows, 10)

    np.testing.assert_array_equal(logits, predict_logits(model, rows, 10))
    assert (timing.num_rows, timing.latency_rows) == (4, 4)
    assert timing.samples_per_second > 0
    assert 0 < timing.latency_median_ms <= timing.latency_p99_ms
    assert (timing.threads, timing.torch_version) == (torch.get_num_threads(), torch.__version__)


def test_latency_is_measured_on_at_most_200_rows(snapshot, exported, token_rows, mean_of_tokens):
    _, timing = timed_predict(exported(mean_of_tokens()), snapshot(token_rows([2] * 301)).rows(), 512)

    assert (timing.num_rows, timing.latency_rows) == (301, 200)


def test_a_warning_about_long_rows_comes_once(snapshot, exported, token_rows, mean_of_tokens, caplog):
    with caplog.at_level(logging.WARNING, logger="mlpipe"):
        timed_predict(exported(mean_of_tokens(), max_length=4), snapshot(token_rows([3, 9])).rows(), 512)

    assert len(caplog.records) == 1


def test_rows_are_checked_before_anything_runs(snapshot, exported, token_rows, mean_of_tokens):
    model = exported(mean_of_tokens(), seq_dynamic=False, max_length=8)

    with pytest.raises(DataError, match="row 'row-1' has length 9"):
        timed_predict(model, snapshot(token_rows([3, 9])).rows(), 512)
