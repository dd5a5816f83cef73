"""What a report tells of a run, read from the tree. The JSON documents that it quotes are as they stand there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Document = Mapping[str, Any]


@dataclass(frozen=True)
class Row:
    """A row as people recognise it: its text, or its picture as a data URI; neither where there is none."""

    row_id: str
    text: str = ""
    picture: str = ""


@dataclass(frozen=True)
class Mistake:
    """A row to which a model gave the wrong label, and how sure it was of that label, 0..1.

    Of multi-label data, the labels are joined by commas, and the probability is that of the surest wrong decision.
    """

    row: Row
    truth: str
    predicted: str
    probability: float


@dataclass(frozen=True)
class Tuning:
    """best.json, and a document for every trial."""

    best: Document
    trials: tuple[Document, ...]


@dataclass(frozen=True)
class ModelFindings:
    """A model that was trained and tested.

    `scores` is its entry of comparison.json; `history` has one record per epoch; `confusion[i, j]` counts the test rows
    of label i that were given label j, in the order of `labels`, and is None of multi-label data; `num_parameters` is
    None for a model of before they were counted; `training_seconds` and `training_usd` are what its training or tuning
    jobs took, None where it is not on record, or nothing was billed.
    """

    name: str
    location: str
    scores: Document
    statistics: Document
    metrics: Document
    timing: Document
    signature: Document
    parity: Document
    history: tuple[Document, ...]
    labels: tuple[str, ...]
    confusion: NDArray[np.int64] | None
    mistakes: tuple[Mistake, ...]
    model_bytes: int
    num_parameters: int | None
    training_seconds: float | None
    training_usd: float | None
    tuning: Tuning | None


@dataclass(frozen=True)
class RunFindings:
    """One run: what ran, on which rows, and what came of it.

    `settings` are the resolved ones, with what was tuned as the best trial had it.
    `card` is the snapshot's data_card.json, `comparison` is comparison.json. `jobs` are those of run.json; `committed`
    is when the run was committed, "" where it is not; `cost_usd` is what was billed for its jobs, None where nothing
    was, or not all of it is known. `rows` are those that the comparison names, by id.
    """

    experiment: str
    run_num: int
    location: str
    committed: str
    snapshot: str
    test_openings: int
    functions: str
    settings_text: str
    settings: Document
    card: Document
    comparison: Document
    jobs: tuple[Document, ...]
    cost_usd: float | None
    models: tuple[ModelFindings, ...]
    rows: Mapping[str, Row]
