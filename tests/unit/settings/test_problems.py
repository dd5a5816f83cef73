from __future__ import annotations

import pytest

from mlpipe.errors import SettingsError
from mlpipe.settings.problems import MAX_PROBLEMS, Problems, nearest, shown


def test_without_a_problem_nothing_is_raised() -> None:
    Problems().raise_if_any()


def test_problems_are_listed_by_source_and_line_not_by_discovery() -> None:
    problems = Problems()
    for order in [(2, 0), (0, 12), (1, 3), (0, 2), (0, float("inf"))]:
        problems.add(order, str(order))
    with pytest.raises(SettingsError) as caught:
        problems.raise_if_any()
    assert caught.value.message.split("\n") == ["(0, 2)", "(0, 12)", "(0, inf)", "(1, 3)", "(2, 0)"]
    assert "settings.ini.example" in caught.value.hint
    assert caught.value.exit_code == 2


def test_no_more_than_a_hundred_problems_are_listed() -> None:
    problems = Problems()
    for line in range(MAX_PROBLEMS):
        problems.add((0, line), "wrong")
    assert not problems.is_full
    for line in range(5):
        problems.add((0, line), "more")
    assert problems.is_full
    with pytest.raises(SettingsError) as caught:
        problems.raise_if_any()
    lines = caught.value.message.split("\n")
    assert len(lines) == MAX_PROBLEMS + 1
    assert lines[-1] == "and more: only the first 100 problems are shown"


def test_what_a_terminal_would_obey_is_escaped_and_long_text_is_cut() -> None:
    assert shown("a\x1b[31m\nb\udc80\u202eä") == "a\\x1b[31m\\nb\\udc80\\u202eä"
    assert shown("x" * 61) == "x" * 60 + "…"
    assert shown("x" * 60) == "x" * 60


def test_the_nearest_name_is_found_in_any_case() -> None:
    assert nearest("epocs", ["BATCH_SIZE", "EPOCHS"]) == "EPOCHS"
    assert nearest("WIDTH", ["BATCH_SIZE", "EPOCHS"]) is None
