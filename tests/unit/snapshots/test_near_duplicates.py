from __future__ import annotations

import itertools
import random
import tempfile
from pathlib import Path

import numpy as np
import pytest
from datasketch import MinHash
from hypothesis import given, settings
from hypothesis import strategies as st

from mlpipe.snapshots.data_card import Leak
from mlpipe.snapshots.near_duplicates import LONGEST_MEAN_WORD, find_near_duplicates
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


SENTENCE = "我昨天在你们的网上商店买了一部手机可是到现在还没有收到货请问什么时候可以送到"


@pytest.mark.parametrize("other", [SENTENCE[:-1] + "达", f"{SENTENCE} 谢谢"], ids=["other last one", "longer"])
def test_texts_written_without_spaces_are_compared_by_their_characters(tmp_path, other):
    different = "如果银行卡丢了应该先打电话给客服冻结账户然后带身份证去任何一家分行补办新的卡片"
    rows = rows_of(tmp_path, [SENTENCE, different, other, different[::-1]])
    found = find_near_duplicates(rows, np.array([TRAIN, TRAIN, TEST, TEST]), "text", 0.8).leaks["test_in_train"]
    assert (found.near, found.identical, found.examples) == (1, 0, (("r2", "r0"),))


def test_a_text_with_a_long_word_is_still_compared_by_its_word_pairs(tmp_path):
    text = "Lebensversicherungen werden im nächsten Jahr wohl wieder teurer"
    rows = rows_of(tmp_path, [text, " ".join(reversed(text.split()))])
    found = find_near_duplicates(rows, np.array([TRAIN, TEST]), "text", 0.3).leaks["test_in_train"]
    assert found.near == 0


def test_texts_on_either_side_of_the_limit_are_compared_in_one_way(tmp_path):
    text = "请问我的信用卡什么时候可以寄到家里"
    longer = f"{text}呢 谢谢"
    assert len(text) > LONGEST_MEAN_WORD >= len(longer.replace(" ", "")) / 2
    found = find_near_duplicates(rows_of(tmp_path, [text, longer]), np.array([TRAIN, TEST]), "text", 0.6)
    assert found.leaks["test_in_train"].near == 1


def test_the_shortest_of_texts_written_without_spaces_are_compared_whole(tmp_path):
    rows = rows_of(tmp_path, [SENTENCE, "你好", "再见", "你好", "谢谢"])
    splits = np.array([TRAIN, TRAIN, TRAIN, TEST, TEST])
    found = find_near_duplicates(rows, splits, "text", 0.8).leaks["test_in_train"]
    assert (found.near, found.identical, found.examples) == (1, 1, (("r3", "r1"),))


def test_a_text_without_spaces_does_not_change_how_a_column_with_many_is_compared(tmp_path):
    prose = [" ".join(words(seed)) for seed in range(30)]
    texts = [SENTENCE, f"{SENTENCE}吗", *prose, " ".join(reversed(prose[0].split()))]
    splits = np.array([*[TRAIN] * (len(texts) - 1), TEST])
    found = find_near_duplicates(rows_of(tmp_path, texts), splits, "text", 0.3).leaks["test_in_train"]
    assert found.near == 0


def variants(seed: int) -> list[str]:
    """Four texts that are similar to each other: three wordings, two of them letter for letter different."""
    text = words(seed)
    return [" ".join(text), "  ".join(text), " ".join(text).upper(), changed(text, 1)]


POOL = [*variants(1), *variants(2), *variants(3), "apple", "Apple", "pear", "", None]


def compared_one_by_one(texts: list[str | None], splits: list[int], split: int, other: int) -> Leak:
    """What find_near_duplicates promises, by the exact similarity of every pair of rows."""

    def pairs(text: str) -> set[tuple[str, ...]]:
        parts = text.lower().split()
        return set(itertools.pairwise(parts)) or {tuple(parts)}

    near, identical = {}, set()
    for row, text in enumerate(texts):
        for found, seen in enumerate(texts):
            if text and seen and (splits[row], splits[found]) == (split, other):
                if len(pairs(text) & pairs(seen)) / len(pairs(text) | pairs(seen)) >= 0.8:
                    near.setdefault(f"r{row}", f"r{found}")
                if text == seen:
                    identical.add(row)
    return Leak(len(near), len(identical), tuple(sorted(near.items())[:10]))


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(POOL), st.sampled_from([DROPPED, TRAIN, VALIDATION, TEST])), min_size=1))
def test_what_is_found_is_what_comparing_every_pair_of_rows_finds(rows):
    texts, splits = (list(column) for column in zip(*rows, strict=True))
    with tempfile.TemporaryDirectory() as folder:
        found = find_near_duplicates(rows_of(Path(folder), texts), np.array(splits), "text", 0.8).leaks
    assert found == {
        "test_in_train": compared_one_by_one(texts, splits, TEST, TRAIN),
        "test_in_validation": compared_one_by_one(texts, splits, TEST, VALIDATION),
        "validation_in_train": compared_one_by_one(texts, splits, VALIDATION, TRAIN),
    }


@pytest.mark.parametrize("of_row", [lambda number: "", lambda number: f" case {number}"], ids=["same", "template"])
def test_the_work_grows_with_the_rows_and_not_with_their_square(tmp_path, monkeypatch, of_row):
    compared = 0
    jaccard = MinHash.jaccard

    def counted(one: MinHash, other: MinHash) -> float:
        nonlocal compared
        compared += 1
        return jaccard(one, other)

    monkeypatch.setattr(MinHash, "jaccard", counted)
    texts = [" ".join(words(1)) + of_row(number) for number in range(300)]
    splits = np.array([TRAIN, VALIDATION, TEST] * 100)
    found = find_near_duplicates(rows_of(tmp_path, texts), splits, "text", 0.8).leaks
    assert {leak.near for leak in found.values()} == {100}
    assert compared <= 300
