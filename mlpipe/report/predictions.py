"""What a model said of the test rows, and where it was wrong."""

from __future__ import annotations

import io
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mlpipe.report.findings import Mistake, Row
from mlpipe.storage.units import Unit

Labels = str | list[str]


@dataclass(frozen=True)
class Predictions:
    """predictions.parquet: per row its id, true and predicted label, and how sure the model was of its surest mistake.

    Of multi-label data, the labels of a row are a list, and a mistake is a wrong decision on one label. `sureness` is 0
    where all is right.
    """

    ids: list[str]
    truth: list[Labels]
    predicted: list[Labels]
    sureness: NDArray[np.float64]

    @classmethod
    def read(cls, inference: Unit) -> Predictions:
        """Read the predictions of a unit; IntegrityError where they were altered."""
        import pyarrow.parquet as pq  # a tenth of a second

        table = pq.read_table(io.BytesIO(inference.read("predictions.parquet")))
        ids, truth, predicted = (table[name].to_pylist() for name in ("id", "truth", "prediction"))
        names = [name for name in table.column_names if name.startswith("probability_")]
        probabilities = np.column_stack([table[name].to_numpy() for name in names]).astype(np.float64)
        labels = [name.removeprefix("probability_") for name in names]
        true, found = _indicators(truth, labels), _indicators(predicted, labels)
        sure = np.where(found, probabilities, 1 - probabilities)
        if isinstance(truth[0], str):  # the one label that was given is the one mistake
            sure = np.where(found, probabilities, 0.0)
        return cls(ids, truth, predicted, np.where(true == found, 0.0, sure).max(axis=1))

    def confusion(self, labels: tuple[str, ...]) -> NDArray[np.int64] | None:
        """Rows of each true label (down) by the label that they were given; None where a row may have several."""
        if not isinstance(self.truth[0], str):
            return None
        number = {label: at for at, label in enumerate(labels)}
        counts = np.zeros((len(labels), len(labels)), dtype=np.int64)
        rows = [[number[str(label)] for label in column] for column in (self.truth, self.predicted)]
        np.add.at(counts, (rows[0], rows[1]), 1)
        return counts

    def mistakes(self, wanted: int) -> tuple[Mistake, ...]:
        """The wrong rows that the model was surest of, surest first; their texts are still to be read."""
        wrong = [at for at in range(len(self.ids)) if self.truth[at] != self.predicted[at]]
        wrong.sort(key=lambda at: (-self.sureness[at], self.ids[at]))
        return tuple(
            Mistake(Row(self.ids[at]), _joined(self.truth[at]), _joined(self.predicted[at]), float(self.sureness[at]))
            for at in wrong[:wanted]
        )


def _indicators(column: list[Labels], labels: list[str]) -> NDArray[np.bool_]:
    """Which labels each row has: (rows, labels)."""
    number, found = {label: at for at, label in enumerate(labels)}, np.zeros((len(column), len(labels)), dtype=bool)
    for row, names in enumerate(column):
        found[row, [number[name] for name in ([names] if isinstance(names, str) else names)]] = True
    return found


def _joined(labels: Labels) -> str:
    return labels if isinstance(labels, str) else ", ".join(labels) or "(none)"
