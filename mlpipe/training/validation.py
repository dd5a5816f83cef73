"""How good a model is on the validation split."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy

from mlpipe.batching import EncodedRows, budget_batches
from mlpipe.errors import UserFunctionError
from mlpipe.settings.multi_label import check_multi_label
from mlpipe.specs import InputSpec, TaskType
from mlpipe.training.classifier import compute_logits, padding_values
from mlpipe.training.job import TrainingJob
from mlpipe.training.metrics import ValidationMetrics
from mlpipe.training.ranks import Ranks


@dataclass(frozen=True)
class Scores:
    """The mean cross entropy over the validation rows (and their labels), and every metric over the same rows."""

    loss: float
    metrics: Mapping[str, float]


@dataclass(frozen=True)
class Validation:
    """The validation rows in the batches that every epoch is judged on."""

    rows: EncodedRows
    batches: list[NDArray[np.int64]]
    padding: Mapping[str, int | float]
    metrics: ValidationMetrics
    num_labels: int
    ranks: Ranks
    code: Path

    @classmethod
    def open(cls, job: TrainingJob, rows: EncodedRows, inputs: tuple[InputSpec, ...], ranks: Ranks) -> Validation:
        """Cut the rows into batches of similar length and load the job's metrics.

        Raises SettingsError for what cannot be used with these rows.
        """
        training = job.settings.training
        if job.encoding.task_type is TaskType.MULTI_LABEL:
            check_multi_label(training)
        # Small batches suit a CPU's caches; a GPU wants them large.
        is_cpu = ranks.accelerator.device.type == "cpu"
        budget = job.settings.inference.token_budget if is_cpu else sys.maxsize
        return cls(
            rows=rows,
            batches=budget_batches(rows.lengths, budget, training.max_batch_per_device),
            padding=padding_values(inputs),
            metrics=ValidationMetrics.load(training.metrics, len(job.encoding.labels), job.encoding.task_type),
            num_labels=len(job.encoding.labels),
            ranks=ranks,
            code=job.functions.code,
        )

    def score(self, model: torch.nn.Module) -> Scores:
        """Run `model` over every validation row, each once, in one of the processes; all of them get the same scores.

        Raises UserFunctionError for logits that are not finite.
        """
        logits = self._logits(model)
        labels = self.rows.labels
        if labels.ndim == 2:
            loss = binary_cross_entropy_with_logits(logits, torch.from_numpy(labels).float())
            return Scores(float(loss), self.metrics.compute(labels, logits.double().sigmoid().numpy()))
        loss = cross_entropy(logits, torch.from_numpy(labels))
        return Scores(float(loss), self.metrics.compute(labels, logits.double().softmax(dim=1).numpy()))

    def _logits(self, model: torch.nn.Module) -> torch.Tensor:
        """float32 (rows, labels), each row's logits at the row's own position."""
        logits = torch.zeros(len(self.rows), self.num_labels)
        device = self.ranks.accelerator.device
        self.ranks.share_buffers(model)
        model.eval()
        with torch.no_grad():
            for rows in self.ranks.share(self.batches):
                batch = {key: value.to(device) for key, value in self.rows.collate(rows, self.padding).items()}
                logits[torch.from_numpy(rows)] = compute_logits(model, batch, self.num_labels, self.code).float().cpu()
        logits = self.ranks.merged(logits)
        broken = torch.nonzero(~logits.isfinite().all(dim=1))
        if len(broken):
            raise UserFunctionError(
                f"the model from load_model gave logits that are not finite for {len(broken)} validation rows, "
                f"the first of them has the id {self.rows.ids[int(broken[0])]!r}"
            )
        return logits
