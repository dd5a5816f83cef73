"""The inputs that an export is tried on."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from datasets import Dataset

from mlpipe.batching import EncodedRows
from mlpipe.specs import EncodedInput, Encoding, InputSpec, TaskType
from mlpipe.training.cases import PLANS, Case, CaseMaker, Lengths, ProbeRow, snapshot_lengths

ANY, LONGEST, ONE_ROW = PLANS
TOKENS = InputSpec("tokens", "int64", 0, True, ())
PIXELS = InputSpec("pixels", "float32", 0, False, (2, 2))


@pytest.fixture
def rows(tmp_path) -> EncodedRows:
    made = [
        {"id": str(n), "label": 0, "tokens": list(range(1, 3 + n % 8)), "pixels": np.full((2, 2), float(n)).tolist()}
        for n in range(200)
    ]
    Dataset.from_list(made).save_to_disk(tmp_path)
    inputs = {
        "tokens": EncodedInput("int64", True, (), 1, 12),
        "pixels": EncodedInput("float32", False, (2, 2), None, None),
    }
    return EncodedRows.open(
        tmp_path, Encoding(TaskType.SINGLE_LABEL, ("model",), ("a", "b"), {"model": inputs}), "model"
    )


@pytest.fixture
def maker(rows) -> CaseMaker:
    return CaseMaker(rows, (TOKENS, PIXELS), Lengths(1, 5, 12), token_budget=40)


def test_the_lengths_to_try_span_every_ragged_input(rows) -> None:
    assert snapshot_lengths([(3, 20), (None, None), (0, 9)], rows) == Lengths(1, 5, 20)
    assert snapshot_lengths([(7, 20)], rows) == Lengths(7, 7, 20)


def test_without_ragged_inputs_every_length_is_one(rows) -> None:
    assert snapshot_lengths([(None, None)], rows).longest == 1


def test_rows_are_tiled_or_cut_to_their_length_and_padded_to_the_width(maker) -> None:
    case = Case("made", (ProbeRow(1, 7), ProbeRow(5, 2)), width=8)
    tokens, pixels = maker.tensors(case)
    assert tokens.tolist() == [[1, 2, 3, 1, 2, 3, 1, 0], [1, 2, 0, 0, 0, 0, 0, 0]]
    assert pixels[:, 0, 0].tolist() == [1.0, 5.0]


def test_all_ragged_inputs_of_a_row_have_one_length(rows) -> None:
    maker = CaseMaker(rows, (TOKENS, TOKENS), Lengths(1, 5, 12), 40)
    first, second = maker.tensors(Case("made", (ProbeRow(0, 3),), width=4))
    assert torch.equal(first, second)


def test_the_dynamic_plan_covers_every_length_at_every_batch_size_padded_and_not(maker) -> None:
    cases = maker.cases(ANY)
    shapes = {(len(case.rows), case.width) for case in cases}
    assert shapes >= {(size, width) for size in (1, 2, 5) for width in (1, 5, 12)}
    for width in (5, 12):
        lengths = [sorted(row.length for row in case.rows) for case in cases if case.width == width]
        assert [width] * 5 in lengths
        assert [1, 1, max(1, width // 2), max(1, width // 2), width] in lengths
        assert [max(1, width // 2)] in lengths


def test_validation_rows_are_tried_as_they_are_in_batches_and_alone(maker) -> None:
    cases = maker.cases(ANY)
    batched = {row for case in cases if case.name == "validation rows" for row in case.rows}
    alone = {case.rows[0] for case in cases if len(case.rows) == 1 and case.width == case.rows[0].length}
    own_length = {row for row in batched if row.length == maker.rows.lengths[row.position]}
    assert len(own_length) == len(batched) == 64
    assert {row.length for row in batched} == set(range(2, 10))
    assert len(batched & alone) >= 16
    assert all(len(case.rows) * case.width <= 40 for case in cases if case.name == "validation rows")


def test_restricted_plans_ask_for_the_longest_length_alone(maker) -> None:
    assert {case.width for case in maker.cases(LONGEST)} == {12}
    assert {(len(case.rows), case.width) for case in maker.cases(ONE_ROW)} == {(1, 12)}
    assert {len(case.rows) for case in maker.cases(LONGEST)} >= {1, 2, 5}


@pytest.mark.parametrize("plan", PLANS)
def test_no_case_is_tried_twice(maker, plan) -> None:
    cases = maker.cases(plan)
    assert len({(case.rows, case.width) for case in cases}) == len(cases)


def test_very_long_rows_are_tried_in_smaller_numbers(rows) -> None:
    maker = CaseMaker(rows, (TOKENS,), Lengths(1, 5, 4096), token_budget=40)
    cases = maker.cases(LONGEST)
    assert sum(len(case.rows) for case in cases if case.name == "validation rows") <= 16
