"""The metrics of single-label classification as one `evaluate` module, whose configurations are their names."""

# One import to a line: the loader finds imports with a regular expression.
from typing import Any

import datasets
import evaluate

from mlpipe.evaluation import statistics


class Classification(evaluate.Metric):  # type: ignore[misc]
    """The metric that `config_name` names.

    `compute` takes `references`, class indices (n,); `predictions`, class indices (n,), for log_loss the probabilities
    (n, num_labels); and `num_labels`.
    """

    def _info(self) -> evaluate.MetricInfo:
        is_log_loss = self.config_name == "log_loss"
        predictions = datasets.List(datasets.Value("float64")) if is_log_loss else datasets.Value("int64")
        features = datasets.Features({"predictions": predictions, "references": datasets.Value("int64")})
        return evaluate.MetricInfo(description=__doc__, citation="", features=features)

    def _compute(self, predictions: list[Any], references: list[int], num_labels: int) -> dict[str, float]:
        if self.config_name == "log_loss":
            return {"log_loss": statistics.log_loss(references, predictions)}
        score = getattr(statistics, self.config_name)
        return {self.config_name: score(references, predictions, num_labels)}
