from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from datasets import Dataset, disable_progress_bars

from mlpipe.inference.yardstick import predict_by_words, write_yardstick
from mlpipe.specs import Encoding, TaskType

ENCODING = Encoding(TaskType.SINGLE_LABEL, ("x",), ("fruit", "metal"), {})
WORDS = (["ripe apple", "sweet pear", "apple pear"], ["heavy iron", "cold zinc", "iron zinc"])


@pytest.fixture
def split(tmp_path):
    """Writes a split with texts and classes, as prepare does."""
    disable_progress_bars()

    def write(name: str, texts: list[str | None], classes: list[Any]) -> Path:
        ids = [f"{name}-{number}" for number in range(len(texts))]
        Dataset.from_dict({"id": ids, "label": classes, "text": texts, "x_input_ids": [[1]] * len(texts)}).save_to_disk(
            tmp_path / name
        )
        return tmp_path / name

    return write


def test_the_test_rows_are_told_apart_by_the_words_of_the_training_rows(tmp_path, split):
    train = split("train", WORDS[0] + WORDS[1], [0, 0, 0, 1, 1, 1])
    test = split("test", ["a cold iron", "an apple", None], [1, 1, 0])
    write_yardstick(tmp_path / "out", train, test, "text", ENCODING, 3)
    rows = pq.read_table(tmp_path / "out" / "predictions.parquet").to_pylist()
    assert [row["id"] for row in rows] == ["test-0", "test-1", "test-2"]
    assert [row["truth"] for row in rows] == ["metal", "metal", "fruit"]
    assert [row["prediction"] for row in rows[:2]] == ["metal", "fruit"]
    about = json.loads((tmp_path / "out" / "yardstick.json").read_bytes())
    assert about == {"train_rows": 6, "text_column": "text", "error": ""}


@pytest.mark.parametrize(("texts", "classes"), [(["apple", "pear"], [0, 0]), (["!", "?"], [0, 1])])
def test_where_no_model_can_be_trained_the_reason_is_written_and_nothing_else(tmp_path, split, texts, classes):
    train, test = split("train", texts, classes), split("test", ["apple"], [0])
    write_yardstick(tmp_path / "out", train, test, "text", ENCODING, 3)
    assert json.loads((tmp_path / "out" / "yardstick.json").read_bytes())["error"]
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["yardstick.json"]


def test_equal_rows_give_equal_bytes(tmp_path, split):
    train, test = split("train", WORDS[0] + WORDS[1], [0, 0, 0, 1, 1, 1]), split("test", ["iron apple"], [0])
    for name in ("one", "other"):
        write_yardstick(tmp_path / name, train, test, "text", ENCODING, 3)
    for name in ("predictions.parquet", "yardstick.json"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "other" / name).read_bytes()


def test_a_hundred_labels_are_learned():
    classes = np.repeat(np.arange(100), 4)
    texts = [f"word{label} and word{label + 100}" for label in classes]
    assert (predict_by_words(texts, classes, texts, seed=1) == classes).all()


def test_each_label_of_multi_label_rows_is_learned_by_itself(tmp_path, split):
    train = split("train", [*WORDS[0], *WORDS[1], "sweet apple of iron"], [[0], [0], [0], [1], [1], [1], [0, 1]])
    test = split("test", ["heavy iron", "sweet pear", "apple iron"], [[1], [0], []])
    write_yardstick(tmp_path / "out", train, test, "text", replace(ENCODING, task_type=TaskType.MULTI_LABEL), 3)
    rows = pq.read_table(tmp_path / "out" / "predictions.parquet").to_pylist()
    assert [row["truth"] for row in rows] == [["metal"], ["fruit"], []]
    assert [row["prediction"] for row in rows[:2]] == [["metal"], ["fruit"]]
