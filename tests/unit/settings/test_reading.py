from __future__ import annotations

import configparser
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlpipe.errors import SettingsError
from mlpipe.settings import Settings, load_settings
from mlpipe.settings.problems import Problems
from mlpipe.settings.reading import MAX_BYTES, read_document

ABOVE = "[EXPERIMENT]\nEXPERIMENT_NAME = demo\nMODEL_NAMES = a\n"


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"there is no settings file .*nowhere\.ini"):
        load_settings(tmp_path / "nowhere.ini")


def test_the_number_of_a_run_is_no_settings_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SettingsError, match=r"there is no settings file 7\n  a run is named so: .*infer --run-num 7`"):
        load_settings(Path("7"))


def test_a_folder_is_no_settings_file(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="is no file"):
        load_settings(tmp_path)


def test_a_pipe_is_refused_without_waiting_for_it(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "settings.ini")
    with pytest.raises(SettingsError, match="is no file"):
        load_settings(tmp_path / "settings.ini")


def test_a_path_below_a_file_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(SettingsError, match=r"cannot be read: .*Not a directory"):
        load_settings(tmp_path / "file" / "settings.ini")


def test_a_path_with_a_nul_cannot_be_read() -> None:
    with pytest.raises(SettingsError, match="cannot be read"):
        load_settings(Path("settings\0.ini"))


@pytest.mark.parametrize("content", [b"", b" \n\t\r\n", b"\xef\xbb\xbf"])
def test_an_empty_file_is_called_empty(problems: Callable[..., list[str]], content: bytes) -> None:
    assert problems(content) == ["settings.ini is empty"]


def test_a_file_of_comments_says_which_keys_are_missing(problems: Callable[..., list[str]]) -> None:
    assert problems("# nothing\n; at all\n", above="") == [
        "settings.ini: EXPERIMENT_NAME is missing: write EXPERIMENT_NAME = my-experiment in a section [EXPERIMENT]",
        "settings.ini: MODEL_NAMES is missing: write MODEL_NAMES = my-model in a section [EXPERIMENT]",
    ]


def test_a_file_of_more_than_a_megabyte_is_refused(problems: Callable[..., list[str]]) -> None:
    content = ABOVE.encode().ljust(MAX_BYTES + 1, b"#")
    assert problems(content) == ["settings.ini has 1000001 bytes; settings have at most 1000000"]


def test_a_file_of_exactly_a_megabyte_is_read(load: Callable[..., Settings]) -> None:
    assert load(ABOVE.encode().ljust(MAX_BYTES, b"#")).experiment.experiment_name == "demo"


def test_a_nul_byte_is_reported_with_its_line(problems: Callable[..., list[str]]) -> None:
    assert problems(b"[EXPERIMENT]\nSEED = \x00\n") == ["settings.ini:2: a NUL byte: this is no text file in UTF-8"]


@pytest.mark.parametrize("content", ["[EXPERIMENT]".encode("utf-16"), bytes(range(256))])
def test_other_encodings_and_binary_files_are_refused(problems: Callable[..., list[str]], content: bytes) -> None:
    assert problems(content)[0].endswith("this is no text file in UTF-8")


def test_text_in_latin_1_is_reported_with_its_line(problems: Callable[..., list[str]]) -> None:
    assert problems("[USER]\nA = 1\nB = ä\n".encode("latin-1")) == ["settings.ini:3: this is no text in UTF-8"]


def test_a_byte_order_mark_is_no_part_of_the_text(load: Callable[..., Settings]) -> None:
    assert load(b"\xef\xbb\xbf" + ABOVE.encode()).experiment.model_names == ("a",)


@pytest.mark.parametrize("ending", ["\n", "\r\n", "\r"])
def test_lines_are_counted_with_any_line_ending(problems: Callable[..., list[str]], ending: str) -> None:
    content = ending.join(["[USER]", "A = 1", "", "# comment", "[DATA]", "TEST_FRACTION = 2"]).encode()
    assert problems(content)[0].startswith("settings.ini:6: [DATA] TEST_FRACTION = 2: ")


def test_characters_that_only_python_takes_for_line_ends_do_not_shift_the_lines(
    problems: Callable[..., list[str]],
) -> None:
    assert problems("[USER]\nA = 1\x0c2\x852\u20283\n[DATA]\nSEEED = 2")[0].startswith("settings.ini:7: [DATA] SEEED")


def test_comments_end_a_value_only_behind_a_blank(load: Callable[..., Settings]) -> None:
    user = load("[USER]\nA = 1 ; one\nB = 1;2 # no comment\n# C = 3\n; D = 4\n").user
    assert dict(user) == {"A": "1", "B": "1;2 # no comment"}


def test_percent_signs_and_delimiters_in_values_are_literal(load: Callable[..., Settings]) -> None:
    user = load("[USER]\nA = 100 %(x)s %\nB : a=b:c\nC=\n").user
    assert dict(user) == {"A": "100 %(x)s %", "B": "a=b:c", "C": ""}


def test_indented_lines_go_on_with_the_value_above(load: Callable[..., Settings]) -> None:
    user = load("[USER]\nA = one\n  two ; comment\n  [three] four\n  five = 5\n").user
    assert dict(user) == {"A": "one\ntwo\n[three] four\nfive = 5"}


@pytest.mark.parametrize("between", ["", "  # comment", "; comment"])
def test_a_line_without_content_ends_a_value(load: Callable[..., Settings], between: str) -> None:
    assert dict(load(f"[USER]\nA = one\n{between}\n  B = two\n").user) == {"A": "one", "B": "two"}


def test_junk_lines_are_all_reported_with_their_lines(problems: Callable[..., list[str]]) -> None:
    assert problems("[DATA]\njunk\nTEST_FRACTION = 0.1\n= value\n<<<<<<< mine\n") == [
        "settings.ini:5: junk: expected [SECTION], KEY = value or a comment",
        "settings.ini:7: = value: expected [SECTION], KEY = value or a comment",
        "settings.ini:8: <<<<<<< mine: expected [SECTION], KEY = value or a comment",
    ]


def test_keys_above_the_first_section_are_reported(problems: Callable[..., list[str]]) -> None:
    assert problems("SEED = 1\n[EXPERIMENT]\nEXPERIMENT_NAME=a\nMODEL_NAMES=b", above="") == [
        "settings.ini:1: SEED: expected a [SECTION] above the first key"
    ]


@pytest.mark.parametrize(
    ("header", "reason"),
    [
        ("[DATA", "[DATA]: the closing ] is missing"),
        ("[DATA] SEED = 1", "[DATA]: expected nothing behind it but a ; comment: SEED = 1"),
    ],
)
def test_a_broken_header_still_begins_its_section(problems: Callable[..., list[str]], header: str, reason: str) -> None:
    found = problems(f"{header}\nTEST_FRACTION = 0.1\n")
    assert found == [f"settings.ini:4: {reason}"]


def test_a_comment_may_follow_a_header(load: Callable[..., Settings]) -> None:
    assert load("[ DATA ] ; the rows\nGROUP_KEY = author\n").data.group_key == "author"


def test_a_section_called_default_gives_nothing_to_others(problems: Callable[..., list[str]]) -> None:
    assert problems("[DEFAULT]\nTEST_FRACTION = 0.3\n")[0].startswith("settings.ini:4: [DEFAULT]: unknown section")


def test_the_name_of_the_file_is_written_as_it_was_given(tmp_path: Path) -> None:
    path = tmp_path / "other.ini"
    path.write_text(ABOVE + "SEED = 0\n")
    with pytest.raises(SettingsError) as caught:
        load_settings(path, environment={})
    assert caught.value.message.startswith(f"{path}:4: [EXPERIMENT] SEED = 0: ")


@pytest.mark.parametrize(
    "line", [" " * 500_000, "a" + " " * 500_000 + "b", "[" * 500_000, "=" * 500_000, "A;" * 250_000]
)
def test_a_line_without_end_is_answered(tmp_path: Path, line: str) -> None:
    path = tmp_path / "settings.ini"
    path.write_text("[USER]\n" + line)
    document = read_document(path, Problems())
    assert len(document.headers) + len(document.entries) <= 2


fragments = st.sampled_from(
    [
        "[A]",
        "[B]",
        "[A",
        "a",
        "b = 1",
        "B: 2",
        "c =",
        "= 3",
        "  d",
        "\t[x]",
        "",
        "# e",
        "; f",
        "g ; h",
        "i;j = k",
        " l = 1",
    ]
)


@given(st.lists(fragments, max_size=12).map("\n".join))
@settings(max_examples=300, database=None, deadline=None)
def test_every_line_means_what_it_means_to_configparser(tmp_path_factory: pytest.TempPathFactory, content: str) -> None:
    path = tmp_path_factory.getbasetemp() / "as_configparser.ini"
    path.write_text("[A0]\n" + content)
    reference = configparser.RawConfigParser(
        strict=True, inline_comment_prefixes=(";",), empty_lines_in_values=False, interpolation=None
    )
    reference.optionxform = str  # type: ignore[assignment, method-assign]
    try:
        reference.read_string(path.read_text())
    except configparser.Error:
        return
    document = read_document(path, Problems())
    assert [header.name for header in document.headers] == reference.sections()
    found = [(entry.section, entry.key, entry.value) for entry in document.entries]
    assert found == [(name, *item) for name in reference.sections() for item in reference.items(name)]
