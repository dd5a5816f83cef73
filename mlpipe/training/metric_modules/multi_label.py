"""The metrics of multi-label classification as one `evaluate` module, whose configurations are their names."""

# One import to a line: the loader finds imports with a regular expression.
import datasets
import evaluate

from mlpipe.evaluation import multi_label


class MultiLabel(evaluate.Metric):  # type: ignore[misc]
    """The metric that `config_name` names.

    `compute` takes `references` and `predictions`: 1 or 0 for every row and label, (n, num_labels).
    """

    def _info(self) -> evaluate.MetricInfo:
        indicators = datasets.List(datasets.Value("int64"))
        features = datasets.Features({"predictions": indicators, "references": indicators})
        return evaluate.MetricInfo(description=__doc__, citation="", features=features)

    def _compute(self, predictions: list[list[int]], references: list[list[int]]) -> dict[str, float]:
        return {self.config_name: multi_label.score(self.config_name, references, predictions)}
