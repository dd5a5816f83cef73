"""What a training job tells about itself: history.jsonl, metrics.json, timing.json, plots and the metric line.

Times stand in timing.json alone, so that equal runs write the rest byte for byte the same.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from mlpipe.contract import OBJECTIVE_MARK
from mlpipe.report.plots import save_curves

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class EpochRecord:
    """One line of history.jsonl.

    `epoch` counts from 1, `lr` is the learning rate of its last optimiser step. `train_loss` is the mean over the epoch
    as it was minimised (in training mode, with class weights and all), `validation_loss` the plain cross entropy over
    all validation rows after it, and `metrics` are computed over the same rows.
    """

    epoch: int
    train_loss: float
    lr: float
    validation_loss: float
    metrics: Mapping[str, float]

    def to_json(self) -> dict[str, Any]:
        """One flat record."""
        losses = {"train_loss": self.train_loss, "lr": self.lr, "validation_loss": self.validation_loss}
        return {"epoch": self.epoch, **losses, **self.metrics}


@dataclass(frozen=True)
class EpochTiming:
    """Seconds that one epoch took, and its training speed."""

    epoch: int
    train_seconds: float
    validation_seconds: float
    rows_per_second: float


@dataclass
class History:
    """The epochs so far, and which of them is the best: the one with the highest metric `objective`, or the lowest."""

    objective: str
    is_maximized: bool = True
    records: list[EpochRecord] = field(default_factory=list)
    timings: list[EpochTiming] = field(default_factory=list)

    def add(self, record: EpochRecord, timing: EpochTiming) -> None:
        """Append one epoch, and log it for people and the metric line for tuners."""
        self.records.append(record)
        self.timings.append(timing)
        values = {"train_loss": record.train_loss, "validation_loss": record.validation_loss, **record.metrics}
        logger.info("epoch %d: %s", record.epoch, ", ".join(f"{name} {value:.4f}" for name, value in values.items()))
        self.log_objective()

    @property
    def best(self) -> EpochRecord:
        """The best epoch so far; of equal ones the first."""
        choose = max if self.is_maximized else min
        return choose(self.records, key=lambda record: record.metrics[self.objective])

    @property
    def epochs_since_best(self) -> int:
        """How many epochs have come after the best one."""
        return self.records[-1].epoch - self.best.epoch

    def log_objective(self) -> None:
        """Log the metric line with the best value so far: a tuner scores the latest line that it finds."""
        logger.info("%s", objective_line(self.objective, self.best.metrics[self.objective]))

    def log_best(self) -> None:
        """Log which epoch the weights are taken from."""
        best, value = self.best.epoch, self.best.metrics[self.objective]
        logger.info("epoch %d of %d is the best: %s %.4f", best, len(self.records), self.objective, value)

    def save(self, folder: Path, *, rows: Mapping[str, int], parameters: int, environment: Mapping[str, Any]) -> None:
        """Write history.jsonl, metrics.json and timing.json to `folder`.

        `rows` counts the rows of each split that was used, `parameters` the numbers that the model consists of;
        `environment` is what the times depend on.
        """
        best, epochs = self.best, [record.to_json() for record in self.records]
        lines = "".join(json.dumps(epoch) + "\n" for epoch in epochs)
        (folder / "history.jsonl").write_text(lines, encoding="utf-8")
        metrics = {
            "objective_metric_name": self.objective,
            "objective_type": "Maximize" if self.is_maximized else "Minimize",
            "objective": best.metrics[self.objective],
            "best_epoch": best.epoch,
            "epochs_run": len(epochs),
            "validation": {"loss": best.validation_loss, **best.metrics},
            "rows": dict(rows),
            "parameters": parameters,
        }
        write_json(folder / "metrics.json", metrics)
        write_json(folder / "timing.json", {**environment, "epochs": [asdict(timing) for timing in self.timings]})

    def plot(self, folder: Path) -> None:
        """Draw the curves of losses and metrics in `folder`, with the best epoch."""
        epochs = [record.to_json() for record in self.records]
        curves = [{name: value for name, value in epoch.items() if name != "lr"} for epoch in epochs]
        save_curves(curves, folder, objective=self.objective, best_epoch=self.best.epoch)


def objective_line(name: str, value: float) -> str:
    """The line that tells a tuner the objective metric; alone on its line in the job's log."""
    return f"{OBJECTIVE_MARK}{name}={value:.6f}"


def write_json(path: Path, document: Mapping[str, Any]) -> None:
    """Write a JSON file whose bytes depend on the document alone. Raises ValueError for a number that is not finite."""
    path.write_text(json.dumps(document, indent=2, allow_nan=False) + "\n", encoding="utf-8")
