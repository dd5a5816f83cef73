"""How fast exported models are on this machine: a pass over all rows, and one row alone.

Models that are compared take turns, batch by batch and row by row: what else the machine does meanwhile hits them all.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from mlpipe.batching import EncodedRows
from mlpipe.inference.engine import Batch, ExportedModel, check_rows, plan_batches, predict_batch

logger = logging.getLogger(__name__)

LATENCY_ROWS = 200
PROGRESS_INTERVAL_S = 2.0


@dataclass(frozen=True)
class Timing:
    """What timing.json says.

    `samples_per_second` is the number of rows divided by the time of one pass over all of them, from encoded rows on
    disk to logits in memory: collating, the model, and putting the logits in order. The two latencies are the same for
    one row alone, the median and the 99th percentile over `latency_rows` evenly spaced rows; tokenising is in neither.
    `models_in_turns` is the number of models that were measured together, each in its turn.
    """

    num_rows: int
    samples_per_second: float
    latency_rows: int
    latency_median_ms: float
    latency_p99_ms: float
    threads: int
    torch_version: str
    models_in_turns: int

    def to_json(self) -> dict[str, Any]:
        """The content of timing.json."""
        return asdict(self)


@dataclass
class TimedPass:
    """One model on its way through rows, of which there must be some; `run_in_turns` makes it."""

    model: ExportedModel
    rows: EncodedRows
    token_budget: int
    logits: NDArray[np.float32] = field(init=False)
    done: int = 0
    seconds: float = 0.0
    latencies_ms: list[float] = field(default_factory=list)
    error: Exception | None = None

    def __post_init__(self) -> None:
        self.logits = np.empty((len(self.rows), self.model.signature.num_labels), dtype=np.float32)
        self._batches: Iterator[Batch] = iter(())
        self._reported = time.monotonic()

    def start(self) -> bool:
        """Check the rows, and run the largest batch twice: the first call of a TorchScript module profiles it, the
        second compiles it. Raises what `predict_logits` raises."""
        check_rows(self.model, self.rows)
        batches = plan_batches(self.rows.lengths, self.model.signature.shapes, self.token_budget)
        for _ in range(2):
            predict_batch(self.model, self.rows, batches[-1])
        self._batches = iter(batches)
        return True

    def step(self) -> bool:
        """Run the next batch; False where there is none."""
        started = time.perf_counter()
        batch = next(self._batches, None)
        if batch is None:
            return False
        self.logits[batch.rows] = predict_batch(self.model, self.rows, batch)
        self.seconds += time.perf_counter() - started
        self.done += len(batch.rows)
        if time.monotonic() - self._reported >= PROGRESS_INTERVAL_S:
            name = self.model.signature.model_name
            logger.info("progress: %s on test rows %d/%d", name, self.done, len(self.rows))
            self._reported = time.monotonic()
        return True

    def run_alone(self) -> bool:
        """Run the next of at most 200 rows, spread evenly over all, by itself; False where there is none."""
        count = min(len(self.rows), LATENCY_ROWS)
        if len(self.latencies_ms) == count:
            return False
        row = int(np.linspace(0, len(self.rows) - 1, count).round()[len(self.latencies_ms)])
        # With no more budget than one token, every row is a batch of its own.
        [batch] = plan_batches(self.rows.lengths[row : row + 1], self.model.signature.shapes, token_budget=1)
        started = time.perf_counter()
        predict_batch(self.model, self.rows, Batch(np.array([row]), batch.length))
        self.latencies_ms.append((time.perf_counter() - started) * 1000)
        return True

    def timing(self, models_in_turns: int) -> Timing:
        """What was measured."""
        median, p99 = np.percentile(self.latencies_ms, [50, 99])
        return Timing(
            num_rows=len(self.rows),
            samples_per_second=len(self.rows) / self.seconds,
            latency_rows=len(self.latencies_ms),
            latency_median_ms=float(median),
            latency_p99_ms=float(p99),
            threads=torch.get_num_threads(),
            torch_version=torch.__version__,
            models_in_turns=models_in_turns,
        )


def run_in_turns(passes: Sequence[TimedPass]) -> None:
    """Make all passes; one that fails keeps its error and leaves the others to run.

    The next turn is that of the model with the smallest share of its rows done, so that all end together.
    """
    for each in passes:
        _attempt(each, each.start)
    going = [each for each in passes if each.error is None]
    while going:
        turn = min(going, key=lambda each: each.done / len(each.rows))
        if not _attempt(turn, turn.step):
            going.remove(turn)
    going = [each for each in passes if each.error is None]
    while going:
        for each in list(going):
            if not _attempt(each, each.run_alone):
                going.remove(each)


def _attempt(each: TimedPass, action: Callable[[], bool]) -> bool:
    """Whether there is more to do of an action of a pass; what goes wrong is kept with it."""
    try:
        return action()
    except Exception as error:
        each.error = error
        return False
