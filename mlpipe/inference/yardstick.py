"""The linear model on words: what a text classifier that costs seconds makes of the same rows."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from datasets import load_from_disk
from numpy.typing import NDArray

from mlpipe.manifest import to_bytes

MAX_FEATURES = 50_000
"""The commonest words and pairs of words; more of them cost time and change little."""

logger = logging.getLogger(__name__)


def write_yardstick(folder: Path, train: Path, test: Path, text_column: str, labels: Sequence[str], seed: int) -> None:
    """Train the linear model on the rows of one split, and write what it says of the rows of another.

    `labels` are the names of classes 0..K-1. Writes yardstick.json and predictions.parquet (id, truth, prediction);
    where the training rows allow no such model, yardstick.json has the reason and there are no predictions. Equal
    arguments give equal bytes.
    """
    folder.mkdir(parents=True)
    _, train_classes, train_texts = _rows(train, text_column)
    ids, test_classes, test_texts = _rows(test, text_column)
    about: dict[str, Any] = {"train_rows": len(train_texts), "text_column": text_column, "error": ""}
    try:
        predicted = predict_by_words(train_texts, train_classes, test_texts, seed=seed)
    except ValueError as error:  # of scikit-learn: no word in any text, or a single label
        about["error"] = str(error)
        logger.warning("there is no linear model on words to compare with: %s", error)
    else:
        names = np.array(labels, dtype=object)
        columns = {"id": ids, "truth": names[test_classes].tolist(), "prediction": names[predicted].tolist()}
        pq.write_table(
            pa.table({name: pa.array(values, pa.string()) for name, values in columns.items()}),
            folder / "predictions.parquet",
        )
    (folder / "yardstick.json").write_bytes(to_bytes(about))


def predict_by_words(
    train_texts: Sequence[str], train_classes: NDArray[np.int64], test_texts: Sequence[str], *, seed: int
) -> NDArray[np.int64]:
    """The classes (n,) of the test texts by a linear support vector machine on TF-IDF of words and pairs of words.

    Raises ValueError where the training texts have no word, or one class alone.
    """
    from sklearn.feature_extraction.text import TfidfVectorizer  # with scipy, a second
    from sklearn.pipeline import make_pipeline
    from sklearn.svm import LinearSVC

    words = TfidfVectorizer(sublinear_tf=True, ngram_range=(1, 2), max_features=MAX_FEATURES)
    model = make_pipeline(words, LinearSVC(random_state=seed)).fit(train_texts, train_classes)
    return np.asarray(model.predict(test_texts), dtype=np.int64)


def _rows(split: Path, text_column: str) -> tuple[list[str], NDArray[np.int64], list[str]]:
    """Ids, classes and texts of a split; a row without a text has an empty one."""
    table = load_from_disk(str(split)).select_columns(["id", "label", text_column]).data.table
    texts = [text or "" for text in table[text_column].to_pylist()]
    return table["id"].to_pylist(), np.asarray(table["label"].to_pylist(), dtype=np.int64), texts
