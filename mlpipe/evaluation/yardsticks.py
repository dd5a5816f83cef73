"""Predictions that cost next to nothing, for a model to beat: what it does not beat, it was not worth training for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from mlpipe.evaluation.multi_label import multi_label_statistics
from mlpipe.evaluation.resampling import paired_differences
from mlpipe.evaluation.statistics import Estimate, Scores, bootstrap_intervals, confusion_matrix


@dataclass(frozen=True)
class Margin:
    """A model against a yardstick: differences are the model's score less the yardstick's, with paired intervals."""

    model_name: str
    accuracy_difference: Estimate
    macro_f1_difference: Estimate

    @property
    def not_beaten(self) -> dict[str, Estimate]:
        """The scores by which the model is not seen to be better: the interval of the difference reaches 0."""
        both = {"accuracy": self.accuracy_difference, "macro F1": self.macro_f1_difference}
        return {name: difference for name, difference in both.items() if difference.low <= 0}


@dataclass(frozen=True)
class Yardstick:
    """A yardstick's own scores, and how every model does against it."""

    name: str
    accuracy: Estimate
    macro_f1: Estimate
    margins: tuple[Margin, ...]


def measure(
    name: str,
    truth: NDArray[Any],
    predicted: NDArray[Any],
    models: Mapping[str, NDArray[Any]],
    num_labels: int,
    *,
    seed: int,
    resamples: int,
) -> Yardstick:
    """Score a yardstick's predictions and those of models on the same rows against them.

    All are class indices (n,), or of multi-label data 1 or 0 for every row and label (n, labels).
    """
    accuracy, macro_f1 = _estimates(truth, predicted, num_labels, seed=seed, resamples=resamples)
    pairs = [(at, 0) for at in range(1, len(models) + 1)]
    differences = paired_differences(
        truth, [predicted, *models.values()], pairs, num_labels, seed=seed, resamples=resamples
    )
    margins = [
        Margin(model_name, each.accuracy, each.macro_f1) for model_name, each in zip(models, differences, strict=True)
    ]
    return Yardstick(
        name=name,
        accuracy=accuracy,
        macro_f1=macro_f1,
        margins=tuple(margins),
    )


def _estimates(
    truth: NDArray[Any], predicted: NDArray[Any], num_labels: int, *, seed: int, resamples: int
) -> tuple[Estimate, Estimate]:
    """Accuracy and macro F1."""
    if truth.ndim == 2:
        names = [str(number) for number in range(num_labels)]
        found = multi_label_statistics(
            truth, predicted, names, dict.fromkeys(names, 0.5), seed=seed, resamples=resamples
        )
        return found.accuracy, found.macro_f1
    confusion = confusion_matrix(truth, predicted, num_labels)
    scores = Scores.from_confusion(confusion)
    intervals = bootstrap_intervals(confusion, seed=seed, resamples=resamples)
    return (
        Estimate(float(scores.accuracy), *intervals["accuracy"]),
        Estimate(float(scores.macro(scores.f1)), *intervals["macro_f1"]),
    )


def verdict(yardsticks: Sequence[Yardstick]) -> str:
    """Which models do worse than which yardstick, or are not seen to beat it, in plain words."""
    said = [text for each in yardsticks for margin in each.margins for text in _said(margin, each.name)]
    if said:
        return " ".join(said)
    return f"Every model beats {' and '.join(yardstick.name for yardstick in yardsticks)} in accuracy and macro F1."


def _said(margin: Margin, yardstick: str) -> Iterator[str]:
    worse = {score: found for score, found in margin.not_beaten.items() if found.high < 0}
    unclear = {score: found for score, found in margin.not_beaten.items() if score not in worse}
    for words, scores in (("does worse than", worse), ("is not seen to beat", unclear)):
        if scores:
            told = " and ".join(f"{score} ({_points(difference)})" for score, difference in scores.items())
            yield f"{margin.model_name} {words} {yardstick} in {told}."


def _points(difference: Estimate) -> str:
    value, low, high = (f"{100 * each:+.1f}" for each in (difference.value, difference.low, difference.high))
    return f"{value} points [{low}, {high}]"
