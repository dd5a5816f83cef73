from __future__ import annotations

import configparser
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlpipe.settings import Settings
from mlpipe.settings.entries import Entry, Source
from mlpipe.settings.interpolation import MAX_DEPTH, interpolated
from mlpipe.settings.problems import Problems

LONE = "a lone $: write $$ for a dollar sign, ${KEY} or ${SECTION:KEY} for another value"


def entries_of(values: dict[str, str], section: str = "USER") -> list[Entry]:
    return [Entry(Source.FILE, line, section, key, value, key) for line, (key, value) in enumerate(values.items(), 1)]


def test_references_are_found_in_any_case(load: Callable[..., Settings]) -> None:
    user = load("[USER]\nFolder = /data\nCSV = ${FOLDER}/${experiment:Experiment_Name}.csv\n").user
    assert user["csv"] == "/data/demo.csv"


def test_two_dollars_are_one(load: Callable[..., Settings]) -> None:
    user = load("[USER]\nPRICE = $$5 and $${PRICE} $$$$\nB = ${PRICE}\n").user
    assert user["price"] == user["b"] == "$5 and ${PRICE} $$"


@pytest.mark.parametrize("value", ["$5", "5$", "${", "${}", "${A", "$(A)"])
def test_a_lone_dollar_is_reported_with_its_line(problems: Callable[..., list[str]], value: str) -> None:
    assert problems(f"[USER]\nA = 1\nB = {value}\n") == [f"settings.ini:6: [USER] B = {value}: {LONE}"]


@pytest.mark.parametrize("name", ["B", "NOWHERE:A", "EXPERIMENT:A", "USER:A:B", "DATA:TEST_FRACTION"])
def test_a_reference_to_nothing_is_reported(problems: Callable[..., list[str]], name: str) -> None:
    assert problems(f"[USER]\nA = ${{{name}}}\n") == [
        f"settings.ini:5: [USER] A = ${{{name}}}: there is no {name} in this file; write $$ for a dollar sign"
    ]


def test_a_circle_is_reported_once_with_its_path(problems: Callable[..., list[str]]) -> None:
    assert problems("[USER]\nA = ${B}\nB = ${C}\nC = ${A}\nD = ${A}\n") == [
        "settings.ini:7: [USER] C = ${A}: the value leads back to itself: A -> B -> C -> A"
    ]


def test_a_circle_is_found_from_outside_it(problems: Callable[..., list[str]]) -> None:
    assert problems("[USER]\nD = ${A}\nA = ${B}\nB = ${A}\n") == [
        "settings.ini:7: [USER] B = ${A}: the value leads back to itself: A -> B -> A"
    ]


def test_a_broken_required_value_is_not_also_called_missing(problems: Callable[..., list[str]]) -> None:
    found = problems("[EXPERIMENT]\nEXPERIMENT_NAME = $\nMODEL_NAMES = ${X}\n", above="")
    assert [line.split(" = ")[0] for line in found] == [
        "settings.ini:2: [EXPERIMENT] EXPERIMENT_NAME",
        "settings.ini:3: [EXPERIMENT] MODEL_NAMES",
    ]


def test_values_from_outside_the_file_are_taken_as_they_are(load: Callable[..., Settings]) -> None:
    user = load("[USER]\nA = ${B}\nB = 1\n", "user.b=$2", environment={"MLPIPE_USER__C": "${A}"}).user
    assert dict(user) == {"A": "1", "B": "$2", "C": "${A}"}


def test_a_chain_may_have_ten_references_and_no_more(problems: Callable[..., list[str]]) -> None:
    chain = "\n".join(f"A{n} = ${{A{n + 1}}}" for n in range(MAX_DEPTH + 1)) + f"\nA{MAX_DEPTH + 1} = end\n"
    assert problems(f"[USER]\n{chain}") == [
        "settings.ini:5: [USER] A0 = ${A1}: references lead to references more than 10 times"
    ]


def test_a_chain_is_measured_from_either_end(problems: Callable[..., list[str]]) -> None:
    chain = "A0 = end\n" + "\n".join(f"A{n} = ${{A{n - 1}}}" for n in range(1, MAX_DEPTH + 2))
    assert problems(f"[USER]\n{chain}\n") == [
        "settings.ini:16: [USER] A11 = ${A10}: references lead to references more than 10 times"
    ]


def test_a_chain_of_thousands_is_answered(problems: Callable[..., list[str]]) -> None:
    chain = "\n".join(f"A{n} = ${{A{n + 1}}}" for n in range(30_000))
    assert "more than 10 times" in problems(f"[USER]\n{chain}\nA30000 = end\n")[0]


def test_a_bomb_of_doubling_values_is_refused(problems: Callable[..., list[str]]) -> None:
    levels = "\n".join(f"A{n} = {f'${{A{n - 1}}}' * 10}" for n in range(1, 10))
    found = problems(f"[USER]\nA0 = boom\n{levels}\n")
    assert found[0].startswith("settings.ini:9: [USER] A4 = ")
    assert found[0].endswith("its references grow beyond 10000 characters")


def test_a_bomb_of_empty_values_is_defused(load: Callable[..., Settings]) -> None:
    levels = "\n".join(f"A{n} = {f'${{A{n - 1}}}' * 50}" for n in range(1, 10))
    assert load(f"[USER]\nA0 =\n{levels}\n").user["A9"] == ""


def test_many_middling_values_are_refused_together(problems: Callable[..., list[str]]) -> None:
    values = "\n".join(f"B{n} = ${{A}}" for n in range(1000))
    found = problems(f"[USER]\nA = {'x' * 9000}\n{values}\n")
    assert found[0].endswith("the references of this file grow beyond 4000000 characters")


names = st.sampled_from(["a", "b", "c", "d"])
parts = st.one_of(
    st.sampled_from(["x", " ", "%", "$$", "}", "{", "$", "${", "${s:a}", "${s:t:a}", "${e}"]),
    names.map(lambda name: f"${{{name}}}"),
)


@given(st.dictionaries(names, st.lists(parts, max_size=4).map("".join)))
@settings(max_examples=500, database=None, deadline=None)
def test_values_are_those_of_extended_interpolation(values: dict[str, str]) -> None:
    reference = configparser.RawConfigParser(interpolation=configparser.ExtendedInterpolation())
    # read_dict asks the interpolation whether a value may be set; what is compared is how it is read.
    reference.read_string("[s]\n" + "".join(f"{key} = {value}\n" for key, value in values.items()))
    stripped = {key: reference.get("s", key, raw=True) for key in values}
    for entry in interpolated(entries_of(stripped, "s"), Problems()):
        try:
            expected: str | None = reference.get("s", entry.key)
        except configparser.InterpolationError:
            expected = None
        assert entry.value == expected
