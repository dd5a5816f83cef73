"""The validation metrics: local `evaluate` modules, loaded by path, and modules of the Hugging Face Hub by name."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import evaluate
import numpy as np
from datasets import Value
from numpy.typing import NDArray

from mlpipe.errors import SettingsError
from mlpipe.specs import TaskType

MODULES = Path(__file__).parent / "metric_modules"
FILES = {TaskType.SINGLE_LABEL: MODULES / "classification.py", TaskType.MULTI_LABEL: MODULES / "multi_label.py"}
HUB = "hub:"


@dataclass(frozen=True)
class ValidationMetrics:
    """The metrics of one job, by name."""

    modules: Mapping[str, evaluate.EvaluationModule]

    @classmethod
    def load(
        cls, names: Iterable[str], num_labels: int, task_type: TaskType = TaskType.SINGLE_LABEL
    ) -> ValidationMetrics:
        """Load the metrics of these names, and try those of the hub on rows that are all predicted right.

        Raises SettingsError, naming the metric, where the hub does not answer, where what it answers does not score
        `num_labels` classes.
        """
        if task_type is TaskType.MULTI_LABEL:
            return cls({name: _load_local(name, task_type) for name in names})
        metrics = cls({name: _load(name) for name in names})
        labels = np.arange(num_labels).repeat(2)
        metrics.compute(labels, np.eye(num_labels)[labels])
        return metrics

    def compute(self, truth: NDArray[Any], probabilities: NDArray[np.float64]) -> dict[str, float]:
        """Every metric of the probabilities (n, labels) of each class against the true class indices (n,).

        The predicted class is the most probable one. Of multi-label data the truth is 1 or 0 for every row and label,
        and those labels are predicted whose probability is 1/2 or more. Raises SettingsError for a metric of the hub
        that fails or is not one finite number.
        """
        return {name: _score(name, module, truth, probabilities) for name, module in self.modules.items()}


def _load(name: str) -> evaluate.EvaluationModule:
    if not name.startswith(HUB):
        return _load_local(name, TaskType.SINGLE_LABEL)
    try:
        return evaluate.load(name.removeprefix(HUB), module_type="metric", keep_in_memory=True)
    except Exception as error:  # No connection, no such module, a library that it needs, or its own code fails.
        raise _unusable(
            name,
            f"the Hugging Face Hub did not deliver it: {_one_line(error)}",
            "check its name and the connection to the hub, or take it out of METRICS",
        ) from error


def _load_local(name: str, task_type: TaskType) -> evaluate.EvaluationModule:
    return evaluate.load(str(FILES[task_type]), name, keep_in_memory=True)


def _score(
    name: str, module: evaluate.EvaluationModule, truth: NDArray[Any], probabilities: NDArray[np.float64]
) -> float:
    if truth.ndim == 2:
        result = module.compute(references=truth.astype(np.int64), predictions=(probabilities >= 0.5).astype(np.int64))
        return float(result[name])
    if not name.startswith(HUB):
        predictions = probabilities if name == "log_loss" else probabilities.argmax(axis=1)
        result = module.compute(references=truth, predictions=predictions, num_labels=probabilities.shape[1])
        return float(result[name])
    inputs = {"references": truth, **_hub_predictions(name, module, probabilities)}
    try:
        result = module.compute(**inputs)
    except Exception as error:
        raise _unusable(name, f"it failed: {_one_line(error)}") from error
    return _only_number(name, result)


def _hub_predictions(
    name: str, module: evaluate.EvaluationModule, probabilities: NDArray[np.float64]
) -> dict[str, NDArray[Any]]:
    """What a module of the hub asks for, by the type that it declares.

    Whole numbers are class indices, lists of numbers the probabilities of all classes, and single numbers those of the
    second of two classes.
    """
    features = module.features[0] if isinstance(module.features, list) else module.features
    names = [key for key in features if key != "references"]
    feature = features[names[0]] if len(names) == 1 else None
    if isinstance(feature, Value) and "int" in feature.dtype:
        return {names[0]: probabilities.argmax(axis=1)}
    if isinstance(feature, Value) and "float" in feature.dtype and probabilities.shape[1] == 2:
        return {names[0]: probabilities[:, 1]}
    if "float" in getattr(getattr(feature, "feature", None), "dtype", ""):
        return {names[0]: probabilities}
    given = ", ".join(f"{key}: {features[key]}" for key in features)
    raise _unusable(name, f"it does not score {probabilities.shape[1]} classes: it takes {given}")


def _only_number(name: str, result: Any) -> float:
    """The value of a result such as {"accuracy": 0.9}."""
    values = list(result.values()) if isinstance(result, dict) else []
    if len(values) == 1 and isinstance(values[0], (int, float, np.number)) and math.isfinite(values[0]):
        return float(values[0])
    raise _unusable(name, f"expected one finite number, and it computed {_one_line(result)}")


def _one_line(value: object) -> str:
    return " ".join(str(value).split())[:300]


def _unusable(name: str, reason: str, hint: str = "take it out of METRICS") -> SettingsError:
    return SettingsError(f"[TRAINING] METRICS: {name} cannot be used: {reason}", hint=hint)
