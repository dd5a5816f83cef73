from __future__ import annotations

from collections import UserDict

import numpy as np
import pytest
import torch

from mlpipe.errors import DataError
from mlpipe.snapshots.encoding import ModelInputs
from mlpipe.specs import EncodedInput

IDS = ["r1", "r2"]


def inputs_after(*batches: dict) -> ModelInputs:
    inputs = ModelInputs("m")
    for batch in batches:
        inputs.add(batch, IDS)
    return inputs


@pytest.mark.parametrize(
    ("value", "stored", "kind"),
    [
        ([[1, 2], [3]], [[1, 2], [3]], "list<item: int64>"),
        ([[True], [False, True]], [[True], [False, True]], "list<item: bool>"),
        ([[1, 2], [0.5]], [[1.0, 2.0], [0.5]], "list<item: float>"),
        ([1.5, 2], [1.5, 2.0], "float"),
        (np.array([[1, 2], [3, 4]], dtype=np.uint8), [[1, 2], [3, 4]], "list<item: int64>"),
        (torch.tensor([[0.5], [1.0]]), [[0.5], [1.0]], "list<item: float>"),
        ([torch.tensor([1]), torch.tensor([2, 3])], [[1], [2, 3]], "list<item: int64>"),
        ([[[1, 2]], [[3, 4], [5, 6]]], [[[1, 2]], [[3, 4], [5, 6]]], "list<item: list<item: int64>>"),
    ],
)
def test_lists_arrays_and_tensors_become_arrow_lists(value, stored, kind):
    array = ModelInputs("m").add({"x": value}, IDS)["x"]
    assert array.to_pylist() == stored
    assert str(array.type) == kind


def test_a_mapping_that_is_no_dict_is_as_good():
    assert ModelInputs("m").add(UserDict(x=[[1], [2]]), IDS)["x"].to_pylist() == [[1], [2]]


def test_inputs_are_described_over_all_batches():
    inputs = inputs_after(
        {"ids": [[1], [2]], "box": [[[1, 2]], [[3, 4]]], "image": np.zeros((2, 3, 4)), "size": [1, 2]},
        {"ids": [[1, 2, 3], [2]], "box": [[[1, 2]] * 3, [[3, 4]]], "image": np.ones((2, 3, 4)), "size": [3, 4]},
    )
    assert inputs.described() == {
        "ids": EncodedInput("int64", True, (), 1, 3),
        "box": EncodedInput("int64", True, (2,), 1, 3),
        "image": EncodedInput("float32", False, (3, 4), None, None),
        "size": EncodedInput("int64", False, (), None, None),
    }
    assert inputs.longest().tolist() == [1, 1, 3, 1]


def test_without_a_ragged_input_there_is_no_length():
    assert inputs_after({"image": np.zeros((2, 3))}).longest() is None


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        ([[1], []], r"returned nothing for 'x' of row 'r2'"),
        ([[1], None], r"returned None for 'x' of row 'r2'"),
        ([[1], [2, None]], r"returned \[2, None\] for 'x' of row 'r2'"),
        ([["a"], [1]], r"returned \['a'\] for 'x' of row 'r1'"),
        ([[1.0], [float("nan")]], r"returned nan for 'x' of row 'r2'"),
        ([[1.0, 2.0], [0.0, float("inf")]], r"returned inf for 'x' of row 'r2'"),
        ([[0.5], [1e300]], r"returned 1e\+300 for 'x' of row 'r2'"),
        ([[1], [2**63]], r"returned 9223372036854775808 for 'x' of row 'r2'"),
        ([[[1], [2, 3]], [[1]]], r"returned no array for 'x' of row 'r1'"),
        ([[[1]], [[1, 2]]], r"returned shape \(1, 2\) for 'x' of row 'r2'; the rows before it have \(any length, 1\)"),
        ([[1], 2], r"returned shape \(\) for 'x' of row 'r2'"),
        ([[1]], r"returned 1 values for 'x', but was given 2 rows"),
        (np.zeros((3, 1)), r"returned 3 values for 'x', but was given 2 rows"),
        (7, r"returned a int for 'x'"),
        ("ab", r"returned a str for 'x'"),
        (torch.tensor([[0.5], [1.0]], requires_grad=True), r"returned no array for 'x' of row 'r1'"),
    ],
)
def test_what_is_no_number_per_row_is_named_with_input_and_row(value, problem):
    with pytest.raises(DataError, match=rf"encode\(\) for model m {problem}"):
        ModelInputs("m").add({"x": value}, IDS)


@pytest.mark.parametrize(("encoded", "problem"), [({}, "returned no inputs"), ({3: [1, 2]}, "names an input 3")])
def test_inputs_need_names(encoded, problem):
    with pytest.raises(DataError, match=problem):
        ModelInputs("m").add(encoded, IDS)


@pytest.mark.parametrize(
    ("second", "problem"),
    [
        ({"x": [[1], [2]], "y": [[1], [2]]}, "returned the inputs x, y, but x for the batches before"),
        ({"x": [[0.5], [2]]}, "returned float32 for 'x', but int64 for the batches before"),
        ({"x": [[[1]], [[2]]]}, r"shape \(1, 1\) for 'x' of row 'r1'; the rows before it have \(any length\)"),
    ],
)
def test_a_batch_that_differs_from_those_before_is_refused(second, problem):
    with pytest.raises(DataError, match=problem):
        inputs_after({"x": [[1], [2]]}, second)
