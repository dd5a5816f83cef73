"""Models side by side on the same rows: by how much they differ, how sure that is, and where they disagree."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlpipe.errors import DataError
from mlpipe.evaluation.agreement import cohens_kappa, disagreeing_rows, mean_kappa
from mlpipe.evaluation.resampling import Differences, is_right, paired_differences
from mlpipe.evaluation.significance import CochranQ, McNemar, cochran_q, holm, mcnemar
from mlpipe.evaluation.statistics import DEFAULT_RESAMPLES, Estimate

ALPHA = 0.05
"""Below this adjusted p-value two models are called different."""
NAMED_ROWS = 20


@dataclass(frozen=True)
class Apart:
    """A row to which two models give different labels, all by their names; several of one row are joined by commas."""

    row_id: str
    truth: str
    first: str
    second: str


@dataclass(frozen=True)
class Pair:
    """Two models; differences are those of the first less the second, with paired bootstrap intervals.

    `p_holm` is the exact p-value of McNemar's test, adjusted for the number of pairs. `per_label_f1` has the difference
    of every label, largest first. `disagreements` counts the rows to which the two give different labels, and
    `examples` are the first 20 of them, those that one of the two has right before those that both have wrong.
    """

    first: str
    second: str
    accuracy_difference: Estimate
    macro_f1_difference: Estimate
    mcnemar: McNemar
    p_holm: float
    kappa: float
    disagreements: int
    examples: tuple[Apart, ...]
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
    truth: NDArray[Any],
    predictions: Mapping[str, NDArray[Any]],
    labels: Sequence[str],
    *,
    seed: int,
    resamples: int = DEFAULT_RESAMPLES,
    ids: Sequence[str] | None = None,
) -> Comparison:
    """Compare models by their predictions, class indices (n,) of the same rows in the same order, best first.

    Of multi-label data, truth and predictions are 1 or 0 for every row and label (n, labels): a row is right when all
    of its labels are, and kappa is a mean over labels (`mean_kappa`). `ids` names the rows; without it, their numbers
    do. A pure function of its arguments. Raises DataError where there is no row, or predictions are of another number.
    """
    if not len(truth):
        raise DataError("there are no rows to compare models on")
    for name, predicted in predictions.items():
        if len(predicted) != len(truth):
            raise DataError(f"{name} has {len(predicted)} predictions for {len(truth)} rows")
    right = {name: is_right(truth, predicted) for name, predicted in predictions.items()}
    names = list(itertools.combinations(predictions, 2))
    tests = [mcnemar(right[first], right[second]) for first, second in names]
    adjusted = holm([test.p_exact for test in tests])
    numbers = list(itertools.combinations(range(len(predictions)), 2))
    differences = paired_differences(
        truth, list(predictions.values()), numbers, len(labels), seed=seed, resamples=resamples
    )
    pairs = tuple(
        _pair(truth, predictions, labels, names[at], tests[at], adjusted[at], differences[at], ids)
        for at in range(len(names))
    )
    together = cochran_q(np.column_stack(list(right.values()))) if len(right) > 2 else None
    return Comparison(pairs, together, _conclusion(list(predictions), pairs))


def _pair(
    truth: NDArray[Any],
    predictions: Mapping[str, NDArray[Any]],
    labels: Sequence[str],
    names: tuple[str, str],
    test: McNemar,
    adjusted: float,
    differences: Differences,
    ids: Sequence[str] | None,
) -> Pair:
    first, second = (predictions[name] for name in names)
    apart = disagreeing_rows(truth, first, second)
    ranked = sorted(zip(labels, differences.f1, strict=True), key=lambda entry: (-abs(entry[1].value), entry[0]))
    return Pair(
        first=names[0],
        second=names[1],
        accuracy_difference=differences.accuracy,
        macro_f1_difference=differences.macro_f1,
        mcnemar=test,
        p_holm=adjusted,
        kappa=cohens_kappa(first, second, len(labels)) if first.ndim == 1 else mean_kappa(first, second),
        disagreements=len(apart),
        examples=tuple(
            Apart(ids[row] if ids else str(row), *(_named(labels, column[row]) for column in (truth, first, second)))
            for row in apart[:NAMED_ROWS].tolist()
        ),
        per_label_f1=dict(ranked),
    )


def _named(labels: Sequence[str], value: Any) -> str:
    """The label of a class index, or all labels of a row of indicators."""
    if np.ndim(value) == 0:
        return labels[int(value)]
    return ", ".join(labels[at] for at in np.flatnonzero(value).tolist()) or "(none)"


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
        which = f"any two of the {len(names)} models" if len(same) == len(pairs) > 1 else "; ".join(same)
        said.append(f"These rows do not tell {which} apart, which does not show that they are equally good.")
    said.append("This holds for rows like these, and for one training of each model.")
    return " ".join(said)
