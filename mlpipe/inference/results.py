"""What inference/<MODEL_NAME>/ holds: predictions, statistics, times and plots of one model on the test rows."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from mlpipe.batching import EncodedRows
from mlpipe.contract import THRESHOLDS
from mlpipe.evaluation.multi_label import multi_label_statistics
from mlpipe.evaluation.statistics import Statistics, confusion_matrix
from mlpipe.inference.engine import sigmoid, softmax
from mlpipe.inference.timing import Timing
from mlpipe.manifest import to_bytes
from mlpipe.report.plots import save_confusion_matrix
from mlpipe.specs import TaskType

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
    thresholds: Mapping[str, float] | None = None,
) -> Statistics:
    """Write statistics.json, timing.json, predictions.parquet and plots/confusion_matrix.{png,svg}; returns the first.

    `logits` (n, K) are those of `rows` in their order, `labels` the names of classes 0..K-1; of equal logits the first
    class is predicted. With `thresholds` the rows are multi-label: every label whose probability reaches its own is
    predicted, and there is no one confusion matrix to draw. Equal arguments give equal bytes, timing.json excepted,
    which holds what was measured.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / TIMING).write_bytes(to_bytes(timing.to_json()))
    if thresholds is None:
        predicted: NDArray[Any] = logits.argmax(axis=1)
        probabilities = softmax(logits)
        confusion = confusion_matrix(rows.labels, predicted, len(labels))
        statistics = Statistics.from_confusion(confusion, labels, seed=seed, resamples=resamples)
        save_confusion_matrix(confusion, labels, folder / "plots")
    else:
        probabilities = sigmoid(logits)
        predicted = above_thresholds(probabilities, labels, thresholds)
        statistics = multi_label_statistics(rows.labels, predicted, labels, thresholds, seed=seed, resamples=resamples)
    table = prediction_table(rows.ids, rows.labels, predicted, probabilities, labels)
    (folder / STATISTICS).write_bytes(to_bytes(statistics.to_json()))
    pq.write_table(table, folder / PREDICTIONS)
    return statistics


def read_thresholds(model: Path, task_type: TaskType) -> dict[str, float] | None:
    """The threshold of each label that lies with a published multi-label model; None of single-label data."""
    if task_type is TaskType.SINGLE_LABEL:
        return None
    found: dict[str, float] = json.loads((model / THRESHOLDS).read_bytes())
    return found


def above_thresholds(
    probabilities: NDArray[np.float32], labels: Sequence[str], thresholds: Mapping[str, float]
) -> NDArray[np.uint8]:
    """1 or 0 for every row and label (n, K): whether the probability reaches the label's threshold."""
    limits = np.array([thresholds[label] for label in labels], dtype=np.float64)
    return (probabilities.astype(np.float64) >= limits).astype(np.uint8)


def label_column(labels: NDArray[Any], names: Sequence[str]) -> pa.Array:
    """Class indices (n,) as label names; of multi-label rows, 1 or 0 for every row and label (n, K), lists of them."""
    if labels.ndim == 1:
        return pa.array(np.array(names, dtype=object)[labels], pa.string())
    rows = [[names[at] for at in np.flatnonzero(row).tolist()] for row in labels]
    return pa.array(rows, pa.list_(pa.string()))


def prediction_table(
    ids: Sequence[str],
    truth: NDArray[Any],
    predicted: NDArray[Any],
    probabilities: NDArray[np.float32],
    labels: Sequence[str],
) -> pa.Table:
    """Each row in order: `id`, `truth`, `prediction` (label names, or lists) and float32 `probability_<label>`."""
    columns = {
        "id": pa.array(ids, pa.string()),
        "truth": label_column(truth, labels),
        "prediction": label_column(predicted, labels),
    }
    return pa.table(columns | {f"probability_{label}": probabilities[:, i] for i, label in enumerate(labels)})
