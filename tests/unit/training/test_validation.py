"""Scores over the validation rows."""

from __future__ import annotations

import pytest
import torch

from mlpipe.batching import EncodedRows
from mlpipe.training.classifier import load_classifier, read_inputs
from mlpipe.training.loop import start_accelerator
from mlpipe.training.ranks import Ranks
from mlpipe.training.validation import Validation

SETTINGS = """
[TRAINING]
MAX_BATCH_PER_DEVICE = 4
METRICS = f1, accuracy, precision, recall, log_loss
[INFERENCE]
TOKEN_BUDGET = 24
"""


def test_every_row_is_scored_once_against_its_own_label(make_job, token_rows) -> None:
    job = make_job(settings=SETTINGS, validation=token_rows(31, 2))
    inputs = read_inputs(job)
    classifier = load_classifier(job, inputs)
    rows = EncodedRows.open(job.validation, job.encoding, "model")
    validation = Validation.open(job, rows, inputs, Ranks(start_accelerator(job)))
    scores = validation.score(classifier)

    classifier.eval()
    with torch.no_grad():
        alone = [classifier(*rows.collate([row], validation.padding).values()) for row in range(31)]
    logits, labels = torch.cat(alone), torch.from_numpy(rows.labels)
    assert len(validation.batches) > 8
    assert scores.loss == pytest.approx(float(torch.nn.functional.cross_entropy(logits, labels)), abs=1e-5)
    assert scores.metrics["accuracy"] == pytest.approx(float((logits.argmax(1) == labels).float().mean()))
    assert scores.metrics["log_loss"] == pytest.approx(scores.loss, abs=1e-6)
    assert set(scores.metrics) == {"f1", "accuracy", "precision", "recall", "log_loss"}
