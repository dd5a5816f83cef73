"""Models side by side on the same rows: by how much they differ, how sure that is, and where they disagree."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlpipe.errors import DataError
from mlpipe.evaluation.agreement import cohens_kappa
from mlpipe.evaluation.significance import CochranQ, McNemar, cochran_q, holm, mcnemar
from mlpipe.evaluation.statistics import (
    CHUNK_CELLS,
    CONFIDENCE,
    DEFAULT_RESAMPLES,
    Estimate,
    Scores,
    confusion_matrix,
)

ALPHA = 1 - CONFIDENCE


@dataclass(frozen=True)
class Pair:
    """Two models; differences are those of the first less the second, with paired bootstrap intervals.

    `p_holm` is the exact p-value of McNemar's test, adjusted for the number of pairs. `per_label_f1` has the difference
    of every label, largest first. `disagreements` counts the rows to which the two give different labels.
    """

    first: str
    second: str
    accuracy_difference: Estimate
    macro_f1_difference: Estimate
    mcnemar: McNemar
    p_holm: float
    kappa: float
    disagreements: int
    per_label_f1: Mapping[str, Estimate]

    @property
    def is_different(self) -> bool:
        """Whether the models have rows right differently often, by the adjusted p-value."""
        return self.p_holm < ALPHA


@dataclass(frozen=True)
class Comparison:
    """All pairs of models, the test of all together where they are more than two, and what may be said in words."""

    pairs: tuple[Pair, ...]
    cochran_q: CochranQ | None
    conclusion: str

    def to_json(self) -> dict[str, Any]:
        """What comparison.json says of it."""
        return asdict(self)


def compare(
    truth: NDArray[np.int64],
    predictions: Mapping[str, NDArray[np.int64]],
    labels: Sequence[str],
    *,
    seed: int,
    resamples: int = DEFAULT_RESAMPLES,
) -> Comparison:
    """Compare models by their predictions, class indices (n,) of the same rows in the same order, best first.

    A pure function of its arguments. Raises DataError where there is no row, or predictions are of another number.
    """
    if not len(truth):
        raise DataError("there are no rows to compare models on")
    for name, predicted in predictions.items():
        if len(predicted) != len(truth):
            raise DataError(f"{name} has {len(predicted)} predictions for {len(truth)} rows")
    right = {name: predicted == truth for name, predicted in predictions.items()}
    names = list(itertools.combinations(predictions, 2))
    tests = [mcnemar(right[first], right[second]) for first, second in names]
    adjusted = holm([test.p_exact for test in tests])
    pairs = tuple(
        _pair(truth, predictions, labels, names[at], tests[at], adjusted[at], seed=seed, resamples=resamples)
        for at in range(len(names))
    )
    together = cochran_q(np.column_stack(list(right.values()))) if len(right) > 2 else None
    return Comparison(pairs, together, _conclusion(list(predictions), pairs))


def paired_differences(
    truth: NDArray[np.int64],
    first: NDArray[np.int64],
    second: NDArray[np.int64],
    num_labels: int,
    *,
    seed: int,
    resamples: int,
) -> tuple[Estimate, Estimate, list[Estimate]]:
    """The differences of accuracy, of macro F1 and of the F1 of each label, with 95 % percentile intervals.

    Rows are drawn with replacement, each with both of its predictions. A draw changes a score only through the counts
    of (truth, first, second), so those are drawn, from their multinomial distribution, instead of rows.
    """
    cells, counts = np.unique(np.stack((truth, first, second)), axis=1, return_counts=True)
    drawn: list[list[NDArray[np.float64]]] = [[], [], []]
    for one, other in _resampled(cells, counts, num_labels, np.random.default_rng(seed), resamples):
        drawn[0].append(one.accuracy - other.accuracy)
        drawn[1].append(one.macro(one.f1) - other.macro(other.f1))
        drawn[2].append(one.f1 - other.f1)
    one, other = (Scores.from_confusion(confusion_matrix(truth, each, num_labels)) for each in (first, second))
    values = (one.accuracy - other.accuracy, one.macro(one.f1) - other.macro(other.f1), one.f1 - other.f1)
    estimates = [_estimates(value, np.concatenate(chunks)) for value, chunks in zip(values, drawn, strict=True)]
    return estimates[0][0], estimates[1][0], estimates[2]


def _pair(
    truth: NDArray[np.int64],
    predictions: Mapping[str, NDArray[np.int64]],
    labels: Sequence[str],
    names: tuple[str, str],
    test: McNemar,
    adjusted: float,
    *,
    seed: int,
    resamples: int,
) -> Pair:
    first, second = (predictions[name] for name in names)
    accuracy, macro_f1, per_label = paired_differences(
        truth, first, second, len(labels), seed=seed, resamples=resamples
    )
    ranked = sorted(zip(labels, per_label, strict=True), key=lambda entry: (-abs(entry[1].value), entry[0]))
    return Pair(
        first=names[0],
        second=names[1],
        accuracy_difference=accuracy,
        macro_f1_difference=macro_f1,
        mcnemar=test,
        p_holm=adjusted,
        kappa=cohens_kappa(first, second, len(labels)),
        disagreements=int((first != second).sum()),
        per_label_f1=dict(ranked),
    )


def _resampled(
    cells: NDArray[np.int64], counts: NDArray[np.int64], num_labels: int, rng: np.random.Generator, resamples: int
) -> Iterator[tuple[Scores, Scores]]:
    """The scores of both models in bootstrap samples, in chunks of bounded memory."""
    truth, first, second = cells
    classes = np.eye(num_labels)
    chunk = max(1, CHUNK_CELLS // max(len(counts), num_labels))
    for start in range(0, resamples, chunk):
        size = min(chunk, resamples - start)
        drawn = rng.multinomial(counts.sum(), counts / counts.sum(), size=size).astype(np.float64)
        support = drawn @ classes[truth]
        yield (
            Scores.from_counts((drawn * (truth == first)) @ classes[truth], support, drawn @ classes[first]),
            Scores.from_counts((drawn * (truth == second)) @ classes[truth], support, drawn @ classes[second]),
        )


def _estimates(value: NDArray[np.float64], drawn: NDArray[np.float64]) -> list[Estimate]:
    low, high = np.quantile(drawn, [ALPHA / 2, 1 - ALPHA / 2], axis=0)
    columns = (np.atleast_1d(each).tolist() for each in (value, low, high))
    return [Estimate(*entry) for entry in zip(*columns, strict=True)]


def _conclusion(names: Sequence[str], pairs: Sequence[Pair]) -> str:
    """What may be said in plain words, and what may not."""
    if not pairs:
        return f"{names[0]} stands alone: there is no other model to compare it with."
    differing = [pair for pair in pairs if pair.is_different]
    said = [
        f"{pair.first} and {pair.second} differ in accuracy by {100 * pair.accuracy_difference.value:+.1f} points "
        f"[{100 * pair.accuracy_difference.low:+.1f}, {100 * pair.accuracy_difference.high:+.1f}], more than chance "
        f"explains (p = {pair.p_holm:.2g})."
        for pair in differing
    ]
    same = [f"{pair.first} and {pair.second}" for pair in pairs if not pair.is_different]
    if same:
        said.append(f"These rows do not tell {'; '.join(same)} apart, which does not show that they are equally good.")
    said.append("This holds for rows like these, and for one training of each model.")
    return " ".join(said)
