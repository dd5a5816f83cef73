"""Batches of a prepared snapshot: which rows meet, and the tensors that they become."""

from __future__ import annotations

import tracemalloc
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from datasets import Dataset, disable_progress_bars

from mlpipe.batching import EncodedRows, budget_batches, epoch_batches
from mlpipe.errors import DataError
from mlpipe.specs import EncodedInput, Encoding, TaskType

LENGTHS = np.random.default_rng(0).integers(1, 60, 1003)

TOKENS = EncodedInput("int64", True, (), 1, 9)
BOXES = EncodedInput("int64", True, (4,), 1, 9)
PIXELS = EncodedInput("float32", False, (2, 3, 3), None, None)
SIZE = EncodedInput("float32", False, (), None, None)


@pytest.fixture(autouse=True)
def _no_progress_bars() -> None:
    disable_progress_bars()


def encoding(**inputs: EncodedInput) -> Encoding:
    return Encoding(TaskType.SINGLE_LABEL, ("model",), ("a", "b", "c"), {"model": inputs})


def row(number: int, tokens: int, **columns: Any) -> dict[str, Any]:
    return {"id": f"row-{number}", "label": number % 3, "tokens": [100 * number + i for i in range(tokens)], **columns}


def open_rows(folder: Path, rows: list[dict[str, Any]], *, shards: int = 1, **inputs: EncodedInput) -> EncodedRows:
    Dataset.from_list(rows).save_to_disk(folder, num_shards=shards)
    return EncodedRows.open(folder, encoding(**inputs), "model")


def test_ragged_rows_are_padded_to_the_longest_of_the_batch(tmp_path: Path) -> None:
    rows = open_rows(tmp_path, [row(0, 2), row(1, 5), row(2, 1)], tokens=TOKENS)
    batch = rows.collate([2, 0], {"tokens": -1})
    assert batch["tokens"].tolist() == [[200, -1], [0, 1]]
    assert batch["tokens"].dtype == torch.int64
    assert rows.lengths.tolist() == [2, 5, 1]


def test_a_given_length_pads_further(tmp_path: Path) -> None:
    rows = open_rows(tmp_path, [row(0, 2), row(1, 3)], tokens=TOKENS)
    assert rows.collate([0], {"tokens": 7}, length=4)["tokens"].tolist() == [[0, 1, 7, 7]]


def test_a_row_longer_than_the_given_length_is_named(tmp_path: Path) -> None:
    rows = open_rows(tmp_path, [row(0, 2), row(1, 5)], tokens=TOKENS)
    with pytest.raises(DataError, match="'row-1' has length 5, but at most 4"):
        rows.collate([0, 1], {"tokens": 0}, length=4)


def test_inputs_of_every_shape_keep_their_type_and_the_order_of_the_keys(tmp_path: Path) -> None:
    made = [
        row(n, n + 1, boxes=[[n, i, 0, 1] for i in range(n + 1)], pixels=np.full((2, 3, 3), n / 2).tolist(), size=n / 4)
        for n in range(3)
    ]
    rows = open_rows(tmp_path, made, tokens=TOKENS, boxes=BOXES, pixels=PIXELS, size=SIZE)
    batch = rows.collate(np.array([2, 1]), {"pixels": 0, "boxes": 9, "size": 0, "tokens": 0})
    assert list(batch) == ["pixels", "boxes", "size", "tokens"]
    assert {key: (tuple(value.shape), value.dtype) for key, value in batch.items()} == {
        "pixels": ((2, 2, 3, 3), torch.float32),
        "boxes": ((2, 3, 4), torch.int64),
        "size": ((2,), torch.float32),
        "tokens": ((2, 3), torch.int64),
    }
    assert batch["boxes"][1].tolist() == [[1, 0, 0, 1], [1, 1, 0, 1], [9, 9, 9, 9]]
    assert batch["pixels"][0].unique().tolist() == [1.0]
    assert batch["size"].tolist() == [0.5, 0.25]


def test_rows_are_found_across_files_and_after_a_selection(tmp_path: Path) -> None:
    dataset = Dataset.from_list([row(n, 1 + n % 7) for n in range(3000)]).select(range(2999, 0, -2))
    dataset.save_to_disk(tmp_path, num_shards=3)
    rows = EncodedRows.open(tmp_path, encoding(tokens=TOKENS), "model")
    assert len(rows) == 1500
    for position in (0, 499, 500, 1000, 1499):
        number = 2999 - 2 * position
        assert rows.ids[position] == f"row-{number}"
        assert rows.labels[position] == number % 3
        assert rows.collate([position], {"tokens": 0})["tokens"].tolist() == [row(number, 1 + number % 7)["tokens"]]


def test_a_split_is_not_read_into_memory(tmp_path: Path) -> None:
    Dataset.from_list([row(n, 50_000) for n in range(40)]).save_to_disk(tmp_path)
    in_arrow = pa.total_allocated_bytes()
    tracemalloc.start()
    rows = EncodedRows.open(tmp_path, encoding(tokens=TOKENS), "model")
    assert rows.collate([39], {"tokens": 0})["tokens"][0, -1] == 3900 + 49_999
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    size = 8 * int(rows.lengths.sum())
    assert peak + pa.total_allocated_bytes() - in_arrow < size / 8


def test_the_length_of_a_row_is_that_of_its_longest_ragged_input(tmp_path: Path) -> None:
    rows = open_rows(tmp_path, [row(0, 2, other=[1] * 6), row(1, 5, other=[1])], tokens=TOKENS, other=TOKENS)
    assert rows.lengths.tolist() == [6, 5]
    assert rows.collate([0, 1], {"tokens": 0, "other": 0})["tokens"].shape == (2, 6)


def test_without_ragged_inputs_every_length_is_one(tmp_path: Path) -> None:
    rows = open_rows(tmp_path, [{"id": "a", "label": 0, "size": 1.0}, {"id": "b", "label": 1, "size": 2.0}], size=SIZE)
    assert rows.lengths.tolist() == [1, 1]


def test_an_empty_row_is_one_element_of_padding(tmp_path: Path) -> None:
    rows = open_rows(tmp_path, [row(0, 0), row(1, 3)], tokens=TOKENS)
    assert rows.lengths.tolist() == [1, 3]
    assert rows.collate([0], {"tokens": 9})["tokens"].tolist() == [[9]]


def test_types_on_disk_become_the_described_ones(tmp_path: Path) -> None:
    table = {
        "id": ["a"],
        "label": pa.array([1], pa.int32()),
        "tokens": pa.array([[3, 4]], pa.large_list(pa.int8())),
        "flags": pa.array([[True, False]], pa.list_(pa.bool_())),
        "boxes": pa.array([[[1, 2, 3, 4], [5, 6, 7, 8]]], pa.list_(pa.list_(pa.int16(), 4))),
    }
    Dataset(pa.table(table)).save_to_disk(tmp_path)
    flags = EncodedInput("bool", True, (), 2, 2)
    rows = EncodedRows.open(tmp_path, encoding(tokens=TOKENS, flags=flags, boxes=BOXES), "model")
    batch = rows.collate([0], {"tokens": 0, "flags": 0, "boxes": 0})
    assert batch["tokens"].tolist() == [[3, 4]]
    assert batch["tokens"].dtype == torch.int64
    assert batch["flags"].tolist() == [[True, False]]
    assert batch["boxes"].tolist() == [[[1, 2, 3, 4], [5, 6, 7, 8]]]


def test_in_a_comparison_each_model_reads_its_own_columns(tmp_path: Path) -> None:
    Dataset.from_list([{"id": "a", "label": 0, "one_tokens": [1], "two_tokens": [2, 2]}]).save_to_disk(tmp_path)
    inputs = {"one": {"tokens": TOKENS}, "two": {"tokens": TOKENS}}
    both = Encoding(TaskType.SINGLE_LABEL, ("one", "two"), ("a", "b"), inputs)
    rows = EncodedRows.open(tmp_path, both, "two")
    assert rows.collate([0], {"tokens": 0})["tokens"].tolist() == [[2, 2]]


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        ({"tokens": None}, "'tokens' of .* is empty in row 1"),
        ({"label": 3}, "row 1 has label 3, but there are only the classes 0 to 2"),
        ({"id": None}, "'id' of .* is empty in row 1"),
        ({"tokens": [1, None]}, "'tokens' has to hold numbers"),
        ({"boxes": [[1, 2, 3]]}, "'boxes' has an axis of size 3 where 4 was expected"),
        ({"boxes": [None]}, r"'boxes' holds a missing \(null\) list"),
    ],
)
def test_a_broken_row_is_named(tmp_path: Path, broken: dict[str, Any], message: str) -> None:
    rows = [row(n, 1, boxes=[[1, 2, 3, 4]]) for n in range(3)]
    rows[1] |= broken
    with pytest.raises(DataError, match=message):
        open_rows(tmp_path, rows, tokens=TOKENS, boxes=BOXES)


@pytest.mark.parametrize(
    ("column", "message"),
    [
        ({"tokens": [1]}, "'tokens' has to hold lists, but one of its levels holds int64"),
        ({"tokens": [["a"]]}, "'tokens' has to hold numbers"),
        ({"tokens": [[1]], "label": ["a"]}, "class indices, but this column holds string"),
        ({"other": [[1]]}, "no column 'tokens', only id, label, other"),
    ],
)
def test_a_column_of_another_kind_is_named(tmp_path: Path, column: dict[str, list[Any]], message: str) -> None:
    Dataset.from_dict({"id": ["a"], "label": [0], **column}).save_to_disk(tmp_path)
    with pytest.raises(DataError, match=message):
        EncodedRows.open(tmp_path, encoding(tokens=TOKENS), "model")


def test_a_folder_without_a_data_set_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="nothing-here holds no readable split"):
        EncodedRows.open(tmp_path / "nothing-here", encoding(tokens=TOKENS), "model")


@pytest.mark.parametrize("batch_size", [1, 7, 2000])
def test_every_row_is_in_exactly_one_batch_of_an_epoch(batch_size: int) -> None:
    batches = epoch_batches(LENGTHS, batch_size, seed=1, epoch=3)
    assert sorted(np.concatenate(batches).tolist()) == list(range(len(LENGTHS)))
    sizes = sorted((len(batch) for batch in batches), reverse=True)
    assert set(sizes[:-1]) <= {batch_size}
    assert sizes[-1] == (len(LENGTHS) % batch_size or batch_size)


def test_batches_depend_on_seed_and_epoch_alone() -> None:
    def order(seed: int, epoch: int) -> list[int]:
        return np.concatenate(epoch_batches(LENGTHS, 8, seed, epoch)).tolist()

    assert order(1, 1) == order(1, 1)
    assert order(1, 1) != order(1, 2)
    assert order(1, 1) != order(2, 1)


def test_rows_of_similar_length_meet() -> None:
    def padded(batches: list[np.ndarray]) -> int:
        return sum(len(batch) * int(LENGTHS[batch].max()) for batch in batches)

    shuffled = np.array_split(np.random.default_rng(1).permutation(len(LENGTHS)), len(LENGTHS) // 8)
    assert padded(epoch_batches(LENGTHS, 8, seed=1, epoch=1)) < 1.1 * LENGTHS.sum()
    assert padded(shuffled) > 1.5 * LENGTHS.sum()


def test_the_order_of_batches_does_not_follow_length() -> None:
    longest = [int(LENGTHS[batch].max()) for batch in epoch_batches(LENGTHS, 8, seed=1, epoch=1)]
    assert abs(np.corrcoef(longest, range(len(longest)))[0, 1]) < 0.3


def test_budget_batches_hold_every_row_once_within_their_limits() -> None:
    batches = budget_batches(LENGTHS, token_budget=128, max_batch=20)
    assert sorted(np.concatenate(batches).tolist()) == list(range(len(LENGTHS)))
    assert all(len(batch) * LENGTHS[batch].max() <= 128 for batch in batches)
    assert max(len(batch) for batch in batches) == 20


def test_a_row_over_the_budget_is_a_batch_by_itself() -> None:
    batches = budget_batches(np.array([300, 10, 200, 10]), token_budget=100, max_batch=8)
    assert [batch.tolist() for batch in batches] == [[1, 3], [2], [0]]


def test_multi_label_rows_have_1_in_the_column_of_each_of_their_labels(tmp_path: Path) -> None:
    rows = [{**row(number, 2), "label": labels} for number, labels in enumerate(([2, 0], [], [1]))]
    several = replace(encoding(tokens=TOKENS), task_type=TaskType.MULTI_LABEL)
    Dataset.from_list(rows).save_to_disk(tmp_path / "split", num_shards=2)
    found = EncodedRows.open(tmp_path / "split", several, "model")
    assert found.labels.tolist() == [[1, 0, 1], [0, 0, 0], [0, 1, 0]]
    with pytest.raises(DataError, match=r"labels of a single_label snapshot cannot be list"):
        EncodedRows.open(tmp_path / "split", encoding(tokens=TOKENS), "model")


def test_a_label_of_a_multi_label_row_that_is_no_class_is_named_with_its_row(tmp_path: Path) -> None:
    rows = [{**row(number, 2), "label": labels} for number, labels in enumerate(([2, 0], [], [3]))]
    Dataset.from_list(rows).save_to_disk(tmp_path / "split")
    several = replace(encoding(tokens=TOKENS), task_type=TaskType.MULTI_LABEL)
    with pytest.raises(DataError, match="row 2 has label 3, but there are only the classes 0 to 2"):
        EncodedRows.open(tmp_path / "split", several, "model")
