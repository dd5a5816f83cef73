from __future__ import annotations

import enum

import numpy as np
import pytest

from mlpipe.snapshots.content import content_digest, kind_of, plain


class Colour(str, enum.Enum):  # noqa: UP042 - a StrEnum would not show the difference
    RED = "red"


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (np.int32(3), 3),
        (np.float64(0.5), 0.5),
        (np.str_("a"), "a"),
        (np.array([[1, 2], [3, 4]]), [[1, 2], [3, 4]]),
        ((1, (2, 3)), [1, [2, 3]]),
        ({"a": np.bool_(True)}, {"a": True}),
        (bytearray(b"x"), b"x"),
        (Colour.RED, "red"),
    ],
)
def test_values_become_plain_python(value, expected):
    result = plain(value)
    assert result == expected
    assert type(result) is type(expected)


@pytest.mark.parametrize(
    "value", [float("nan"), np.float32("nan"), [1.0, float("nan")], {"a": np.array([float("nan")])}]
)
def test_nan_is_refused_at_any_depth(value):
    with pytest.raises(ValueError, match="NaN"):
        plain(value)


def test_the_order_of_columns_and_missing_values_do_not_change_the_digest():
    assert content_digest({"a": 1, "b": "x"}) == content_digest({"b": "x", "a": 1, "c": None})


def test_whole_floats_equal_ints_at_any_depth():
    assert content_digest({"a": [1.0, {"b": 2.0}]}) == content_digest({"a": [1, {"b": 2}]})


@pytest.mark.parametrize(
    ("one", "other"), [("1", 1), (True, 1), (b"a", "a"), ("a", "A"), ([1, 2], [2, 1]), (["ab"], ["a", "b"]), (0.1, 0.2)]
)
def test_different_values_have_different_digests(one, other):
    assert content_digest({"a": one}) != content_digest({"a": other})


def test_values_in_other_columns_are_other_content():
    assert content_digest({"a": "x", "b": "y"}) != content_digest({"a": "y", "b": "x"})


def test_integers_that_no_float_holds_are_a_kind_of_their_own():
    assert [kind_of(value) for value in (2**53, 2**53 + 1, True, 0.5)] == ["int", "int beyond 2**53", "bool", "float"]
