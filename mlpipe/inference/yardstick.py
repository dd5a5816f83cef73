"""The linear model on words: what a text classifier that costs seconds makes of the same rows."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from datasets import load_from_disk
from numpy.typing import NDArray

from mlpipe.batching import read_labels
from mlpipe.inference.results import label_column
from mlpipe.manifest import to_bytes
from mlpipe.specs import Encoding

MAX_FEATURES = 50_000
"""The commonest words and pairs of words; more of them cost time and change little."""

logger = logging.getLogger(__name__)


def write_yardstick(folder: Path, train: Path, test: Path, text_column: str, encoding: Encoding, seed: int) -> None:
    """Train the linear model on the rows of one split, and write what it says of the rows of another.

    Writes yardstick.json and predictions.parquet (id, truth, prediction); where the training rows allow no such model,
    yardstick.json has the reason and there are no predictions. Equal arguments give equal bytes.
    """
    folder.mkdir(parents=True)
    _, train_labels, train_texts = _rows(train, text_column, encoding)
    ids, test_labels, test_texts = _rows(test, text_column, encoding)
    about: dict[str, Any] = {"train_rows": len(train_texts), "text_column": text_column, "error": ""}
    try:
        predicted = predict_by_words(train_texts, train_labels, test_texts, seed=seed)
    except (ValueError, MemoryError) as error:  # of scikit-learn: no word in any text, or a single label
        about["error"] = str(error) or "it took more memory than there is"
        logger.warning("there is no linear model on words to compare with: %s", error)
    else:
        columns = {
            "truth": label_column(test_labels, encoding.labels),
            "prediction": label_column(predicted, encoding.labels),
        }
        pq.write_table(pa.table({"id": pa.array(ids, pa.string()), **columns}), folder / "predictions.parquet")
    (folder / "yardstick.json").write_bytes(to_bytes(about))


def predict_by_words(
    train_texts: Sequence[str], train_labels: NDArray[Any], test_texts: Sequence[str], *, seed: int
) -> NDArray[np.int64]:
    """The classes (n,) of the test texts by a linear support vector machine on TF-IDF of words and pairs of words.

    Where the training labels are 1 or 0 for every row and label (n, K), so is the result, by one machine for each
    label. Raises ValueError where the training texts have no word, or one class alone.
    """
    from sklearn.feature_extraction.text import TfidfVectorizer  # with scipy, a second
    from sklearn.multiclass import OneVsRestClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.svm import LinearSVC

    words = TfidfVectorizer(sublinear_tf=True, ngram_range=(1, 2), max_features=MAX_FEATURES)
    machine = LinearSVC(random_state=seed)
    model = make_pipeline(words, machine if train_labels.ndim == 1 else OneVsRestClassifier(machine))
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Label .* is present in all training examples")
        model.fit(train_texts, train_labels)
    return np.asarray(model.predict(test_texts), dtype=np.int64)


def _rows(split: Path, text_column: str, encoding: Encoding) -> tuple[list[str], NDArray[Any], list[str]]:
    """Ids, labels (as EncodedRows has them) and texts of a split; a row without a text has an empty one."""
    table = load_from_disk(str(split)).select_columns(["id", "label", text_column]).data.table
    texts = [text or "" for text in table[text_column].to_pylist()]
    return table["id"].to_pylist(), read_labels(table["label"], encoding), texts
