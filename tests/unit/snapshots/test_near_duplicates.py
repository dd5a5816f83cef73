from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest

from mlpipe.snapshots.near_duplicates import find_near_duplicates
from mlpipe.snapshots.rows import Row
from mlpipe.snapshots.rows_file import ROWS_FILE, ReconciledRows, RowsWriter
from mlpipe.snapshots.splits import DROPPED, TEST, TRAIN, VALIDATION


def rows_of(folder: Path, texts: list[str | None]) -> ReconciledRows:
    with RowsWriter(folder / ROWS_FILE) as writer:
        writer.append([Row(number, f"r{number}", "a", None, {"text": text}) for number, text in enumerate(texts)])
    return ReconciledRows(folder)


def words(seed: int, count: int = 60) -> list[str]:
    generator = random.Random(seed)
    return [f"w{generator.randrange(10_000)}" for _ in range(count)]


def changed(text: list[str], places: int) -> str:
    return " ".join(["other", *text[1:]] if places == 1 else [f"x{i}" if i % 2 else w for i, w in enumerate(text)])


def test_identical_and_similar_texts_of_held_out_rows_are_found_and_others_are_not(tmp_path):
    same, near, far, seen = (words(seed) for seed in range(4))
    texts = [" ".join(same), " ".join(near), " ".join(far), " ".join(seen)]
    texts += [" ".join(same), changed(near, 1), changed(far, 30), " ".join(seen).upper()]
    splits = np.array([TRAIN, TRAIN, TRAIN, VALIDATION, TEST, TEST, TEST, TEST])
    found = find_near_duplicates(rows_of(tmp_path, texts), splits, "text", 0.8).leaks
    assert (found["test_in_train"].near, found["test_in_train"].identical) == (2, 1)
    assert found["test_in_train"].examples == (("r4", "r0"), ("r5", "r1"))
    assert (found["test_in_validation"].near, found["test_in_validation"].identical) == (1, 0)
    assert (found["validation_in_train"].near, found["validation_in_train"].identical) == (0, 0)


def test_a_validation_row_that_is_in_training_is_found(tmp_path):
    text = " ".join(words(1))
    found = find_near_duplicates(rows_of(tmp_path, [text, text]), np.array([TRAIN, VALIDATION]), "text", 0.8).leaks
    assert (found["validation_in_train"].near, found["validation_in_train"].identical) == (1, 1)
    assert found["test_in_train"].near == 0


def test_rows_of_one_split_dropped_rows_and_rows_without_a_text_are_left_out(tmp_path):
    text = " ".join(words(1))
    rows = rows_of(tmp_path, [text, text, None, None, text])
    splits = np.array([TEST, TEST, TRAIN, TEST, DROPPED])
    assert all(leak.near == 0 for leak in find_near_duplicates(rows, splits, "text", 0.8).leaks.values())


@pytest.mark.parametrize(("threshold", "near"), [(0.5, 1), (0.99, 0)])
def test_the_threshold_decides(tmp_path, threshold, near):
    text = words(1)
    rows = rows_of(tmp_path, [" ".join(text), changed(text, 1)])
    found = find_near_duplicates(rows, np.array([TRAIN, TEST]), "text", threshold)
    assert found.leaks["test_in_train"].near == near


@pytest.mark.parametrize("threshold", [0.999, 1.0])
def test_at_the_highest_thresholds_equal_word_pairs_are_found_and_one_other_word_is_not(tmp_path, threshold):
    same, near = words(1), words(2)
    rows = rows_of(tmp_path, [" ".join(same), " ".join(near), " ".join(same).upper(), changed(near, 1)])
    found = find_near_duplicates(rows, np.array([TRAIN, TRAIN, TEST, TEST]), "text", threshold).leaks["test_in_train"]
    assert found.examples == (("r2", "r0"),)


def test_texts_of_a_single_word_are_compared_whole(tmp_path):
    rows = rows_of(tmp_path, ["apple", "pear", "Apple"])
    found = find_near_duplicates(rows, np.array([TRAIN, TRAIN, TEST]), "text", 0.8).leaks["test_in_train"]
    assert (found.near, found.identical, found.examples) == (1, 0, (("r2", "r0"),))
