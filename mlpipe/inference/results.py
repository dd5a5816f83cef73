"""What inference/<MODEL_NAME>/ holds: predictions, statistics, times and plots of one model on the test rows."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from mlpipe.batching import EncodedRows
from mlpipe.evaluation.statistics import Statistics, confusion_matrix
from mlpipe.inference.engine import softmax
from mlpipe.inference.timing import Timing
from mlpipe.manifest import to_bytes
from mlpipe.report.plots import save_confusion_matrix

STATISTICS, TIMING, PREDICTIONS = "statistics.json", "timing.json", "predictions.parquet"


def write_results(
    folder: Path,
    rows: EncodedRows,
    labels: Sequence[str],
    logits: NDArray[np.float32],
    timing: Timing,
    *,
    resamples: int,
    seed: int,
) -> Statistics:
    """Write statistics.json, timing.json, predictions.parquet and plots/confusion_matrix.{png,svg}; returns the first.

    `logits` (n, K) are those of `rows` in their order, `labels` the names of classes 0..K-1; of equal logits the first
    class is predicted. Equal arguments give equal bytes, timing.json excepted, which holds what was measured.
    """
    folder.mkdir(parents=True, exist_ok=True)
    predicted = logits.argmax(axis=1)
    confusion = confusion_matrix(rows.labels, predicted, len(labels))
    statistics = Statistics.from_confusion(confusion, labels, seed=seed, resamples=resamples)
    (folder / STATISTICS).write_bytes(to_bytes(statistics.to_json()))
    (folder / TIMING).write_bytes(to_bytes(timing.to_json()))
    pq.write_table(prediction_table(rows, labels, logits), folder / PREDICTIONS)
    save_confusion_matrix(confusion, labels, folder / "plots")
    return statistics


def prediction_table(rows: EncodedRows, labels: Sequence[str], logits: NDArray[np.float32]) -> pa.Table:
    """Each row in order: `id`, `truth`, `prediction` (label names) and float32 `probability_<label>` per class."""
    names = np.array(labels, dtype=object)
    probabilities = softmax(logits)
    columns = {
        "id": pa.array(rows.ids, pa.string()),
        "truth": pa.array(names[rows.labels], pa.string()),
        "prediction": pa.array(names[logits.argmax(axis=1)], pa.string()),
    }
    return pa.table(columns | {f"probability_{label}": probabilities[:, i] for i, label in enumerate(labels)})
