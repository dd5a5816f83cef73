"""From which probability on a label counts as predicted: chosen for each label of multi-label data by itself."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from mlpipe.batching import EncodedRows, budget_batches
from mlpipe.specs import InputSpec
from mlpipe.training.classifier import Classifier, compute_logits, padding_values
from mlpipe.training.job import TrainingJob

UNDECIDED = 0.5
"""The threshold of a label that the validation rows say too little about."""
MIN_POSITIVES = 10
"""Validation rows with a label from which on they choose its threshold: of fewer, a single odd row may decide it."""

logger = logging.getLogger(__name__)


def validation_thresholds(
    job: TrainingJob, classifier: Classifier, inputs: tuple[InputSpec, ...], rows: EncodedRows
) -> dict[str, float]:
    """The threshold of every label, by its name, for a trained `classifier` on CPU.

    Only validation rows choose: the test rows never see it. Labels of fewer than MIN_POSITIVES of them keep 1/2.
    """
    num_labels, padding = len(job.encoding.labels), padding_values(inputs)
    probabilities = np.zeros((len(rows), num_labels))
    batches = budget_batches(
        rows.lengths, job.settings.inference.token_budget, job.settings.training.max_batch_per_device
    )
    with torch.no_grad():
        for batch in batches:
            logits = compute_logits(classifier, rows.collate(batch, padding), num_labels, job.functions.code)
            probabilities[batch] = logits.double().sigmoid().numpy()
    return thresholds_of(job.encoding.labels, rows.labels, probabilities)


def thresholds_of(
    names: Sequence[str], truth: NDArray[np.uint8], probabilities: NDArray[np.float64]
) -> dict[str, float]:
    """The threshold of every label by its name; truth and probabilities are (n, labels)."""
    rare = truth.sum(axis=0) < MIN_POSITIVES
    if rare.any():
        told = ", ".join(name for name, is_rare in zip(names, rare, strict=True) if is_rare)
        logger.info("threshold 0.5, for fewer than %d validation rows have the label: %s", MIN_POSITIVES, told)
    return {
        name: UNDECIDED if rare[at] else best_threshold(truth[:, at], probabilities[:, at])
        for at, name in enumerate(names)
    }


def best_threshold(truth: NDArray[np.uint8], probabilities: NDArray[np.float64]) -> float:
    """The threshold with the highest F1 of one label, whose rows (n,) are 1 where it is true.

    A threshold lies half way between two probabilities that occur; of equally good ones, the nearest to 1/2 is taken.
    Without a row that has the label it is 1/2. Inference computes probabilities in float64 and compares them as
    float32, and so are they told apart here: no threshold parts what it cannot.
    """
    if not truth.any():
        return UNDECIDED
    singles, at = np.unique(probabilities.astype(np.float32), return_inverse=True)
    values = singles.astype(np.float64)  # half way between two neighbours there is no float32
    hits, rows = np.bincount(at, weights=truth), np.bincount(at)
    # With the threshold below value i, the rows of value i and of all higher ones are predicted.
    predicted, right = rows[::-1].cumsum()[::-1], hits[::-1].cumsum()[::-1]
    f1 = 2 * right / (predicted + truth.sum())
    cuts = np.concatenate([[values[0] / 2], (values[:-1] + values[1:]) / 2])
    best = cuts[f1 >= f1.max() - 1e-12]
    is_half_best = f1[np.searchsorted(values, UNDECIDED)] >= f1.max() - 1e-12 if values[-1] >= UNDECIDED else False
    return UNDECIDED if is_half_best else float(best[np.argmin(np.abs(best - UNDECIDED))])
