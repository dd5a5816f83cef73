"""How fast an exported model is on this machine: the whole pass, and one row alone."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from mlpipe.batching import EncodedRows
from mlpipe.inference.engine import Batch, ExportedModel, check_rows, plan_batches, predict_batch, run_batches

LATENCY_ROWS = 200


@dataclass(frozen=True)
class Timing:
    """What timing.json says.

    `samples_per_second` is the number of rows divided by the time of one pass over all of them, from encoded rows on
    disk to logits in memory: collating, the model, and putting the logits in order. The two latencies are the same for
    one row alone, the median and the 99th percentile over `latency_rows` evenly spaced rows; tokenising is in neither.
    """

    num_rows: int
    samples_per_second: float
    latency_rows: int
    latency_median_ms: float
    latency_p99_ms: float
    threads: int
    torch_version: str

    def to_json(self) -> dict[str, Any]:
        """The content of timing.json."""
        return asdict(self)


def timed_predict(model: ExportedModel, rows: EncodedRows, token_budget: int) -> tuple[NDArray[np.float32], Timing]:
    """Logits of all rows as `predict_logits` returns them, and how long that took after a warm-up.

    `rows` must not be empty. Raises what `predict_logits` raises.
    """
    check_rows(model, rows)
    _warm_up(model, rows, token_budget)
    started = time.perf_counter()
    logits = run_batches(model, rows, token_budget)
    seconds = time.perf_counter() - started
    latencies = _row_latencies_ms(model, rows)
    median, p99 = np.percentile(latencies, [50, 99])
    timing = Timing(
        num_rows=len(rows),
        samples_per_second=len(rows) / seconds,
        latency_rows=len(latencies),
        latency_median_ms=float(median),
        latency_p99_ms=float(p99),
        threads=torch.get_num_threads(),
        torch_version=torch.__version__,
    )
    return logits, timing


def _warm_up(model: ExportedModel, rows: EncodedRows, token_budget: int) -> None:
    """Run the largest batch twice: the first call of a TorchScript module profiles it, the second compiles it."""
    largest = plan_batches(rows.lengths, model.signature.shapes, token_budget)[-1]
    for _ in range(2):
        predict_batch(model, rows, largest)


def _row_latencies_ms(model: ExportedModel, rows: EncodedRows) -> list[float]:
    """Milliseconds from an encoded row to its logits, for at most 200 rows spread evenly over all."""
    chosen = np.linspace(0, len(rows) - 1, min(len(rows), LATENCY_ROWS)).round().astype(np.int64)
    latencies = []
    for row in chosen:
        # With no more budget than one token, every row is a batch of its own, at the shape that the model takes.
        [batch] = plan_batches(rows.lengths[row : row + 1], model.signature.shapes, token_budget=1)
        started = time.perf_counter()
        predict_batch(model, rows, Batch(np.array([row]), batch.length))
        latencies.append((time.perf_counter() - started) * 1000)
    return latencies
