"""The validation metrics: local `evaluate` modules, loaded by path, so that nothing is fetched."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import evaluate
import numpy as np
from numpy.typing import NDArray

MODULES = Path(__file__).parent / "metric_modules"


@dataclass(frozen=True)
class ValidationMetrics:
    """The metrics of one job, by name."""

    modules: dict[str, evaluate.EvaluationModule]

    @classmethod
    def load(cls, names: Iterable[str]) -> ValidationMetrics:
        """Load the metrics of these names, each once; settings allow only names that there are modules for."""
        return cls({name: evaluate.load(str(MODULES / f"{name}.py"), keep_in_memory=True) for name in names})

    def compute(self, truth: NDArray[np.int64], prediction: NDArray[np.int64], num_labels: int) -> dict[str, float]:
        """Every metric of class indices (n,) against the true ones (n,); macro averages, all in 0..1."""
        return {
            name: float(module.compute(references=truth, predictions=prediction, num_labels=num_labels)[name])
            for name, module in self.modules.items()
        }
