"""How a space is written, and what is no space."""

from __future__ import annotations

import pytest

from mlpipe.tuning.space import Categories, Interval, is_tunable, parse_tunable


@pytest.mark.parametrize(
    ("text", "tunable"),
    [
        ("1e-5 -> 1e-3 log", Interval(1e-5, 1e-3, "log")),
        ("0.0->0.2", Interval(0.0, 0.2)),
        ("1 -> 8", Interval(1, 8)),
        ("1 -> 8.5", Interval(1.0, 8.5)),
        ("16 -> 256 LOG", Interval(16, 256, "log")),
        ("0.9 -> 0.999 reverse  log", Interval(0.9, 0.999, "reverse log")),
        ("16, 32", Categories((16, 32))),
        ("0.1, 1", Categories((0.1, 1.0))),
        ("true, False", Categories((True, False))),
        ("linear, cosine", Categories(("linear", "cosine"))),
        ("a, 1", Categories(("a", "1"))),
    ],
)
def test_a_tunable_is_what_it_says(text: str, tunable: Interval | Categories):
    assert is_tunable(text)
    parsed = parse_tunable(text)
    assert parsed == tunable
    assert type(parsed.first) is type(tunable.first)


def test_an_interval_of_integers_has_only_integers():
    assert parse_tunable("1 -> 8").is_integer
    assert not parse_tunable("1 -> 8.0").is_integer


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("1e-3 -> 1e-5", "empty or reversed: write 1e-5 -> 1e-3"),
        ("1 -> 1", "empty or reversed"),
        ("0 -> 1 log", "has to begin above 0"),
        ("0.5 -> 1 reverse log", "within 0 <= x < 1"),
        ("a -> b", "expected two numbers"),
        ("1 -> 2 -> 3", "expected two numbers"),
        ("1 -> inf", "expected two numbers"),
        ("1 -> 2 linear", "expected two numbers"),
        ("16,", "an entry of the list is empty"),
        ("16, 16", "a value is given twice"),
        (",".join(map(str, range(31))), "at most 30 values"),
    ],
)
def test_what_is_no_tunable_is_refused_with_the_fix(text: str, reason: str):
    with pytest.raises(ValueError, match=reason):
        parse_tunable(text)


@pytest.mark.parametrize("text", ["16", "0.1", "linear", "-3"])
def test_a_lone_value_is_a_constant(text: str):
    assert not is_tunable(text)
