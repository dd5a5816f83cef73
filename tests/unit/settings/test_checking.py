from __future__ import annotations

from collections.abc import Callable

import pytest

from mlpipe.settings import Settings

SECTIONS = (
    "the sections are EXPERIMENT, DATA, TRAINING, HYPERPARAMETERS, USER_HYPERPARAMETERS, TUNING, INFERENCE, LOCAL, "
    "TRACKING, S3, SAGEMAKER, USER; and HYPERPARAMETERS.<model> and USER_HYPERPARAMETERS.<model>"
)


@pytest.mark.parametrize(
    ("section", "reason"),
    [
        ("HYPERPARAMETRS", f"unknown section; did you mean HYPERPARAMETERS? {SECTIONS}"),
        ("AWS", f"unknown section; {SECTIONS}"),
        ("", f"unknown section; {SECTIONS}"),
        (
            "TRAINING.minilm",
            "unknown section; the sections for one model are HYPERPARAMETERS.<model> and USER_HYPERPARAMETERS.<model>",
        ),
        ("HYPERPARAMETERS.minlm", "there is no model minlm; did you mean minilm? MODEL_NAMES has minilm, convnet"),
        ("USER_HYPERPARAMETERS.bert", "there is no model bert; MODEL_NAMES has minilm, convnet"),
    ],
)
def test_an_unknown_section_or_model_is_reported_once(
    problems: Callable[..., list[str]], section: str, reason: str
) -> None:
    assert problems(f"[{section}]\nEPOCS = 3\nFOO = 4\n") == [f"settings.ini:4: [{section}]: {reason}"]


def test_an_unknown_model_in_an_option_is_reported(problems: Callable[..., list[str]]) -> None:
    assert problems("", "hyperparameters.convnt.epochs=3") == [
        "--set hyperparameters.convnt.epochs = 3: "
        "there is no model convnt; did you mean convnet? MODEL_NAMES has minilm, convnet"
    ]


def test_models_are_those_of_the_option_that_names_them(load: Callable[..., Settings]) -> None:
    settings = load("[HYPERPARAMETERS.bert]\nEPOCHS = 9\n", "experiment.model_names=bert")
    assert settings.hyperparameters["bert"].epochs == 9


def test_unknown_models_are_reported_beside_a_wrong_experiment_name(problems: Callable[..., list[str]]) -> None:
    content = "[EXPERIMENT]\nEXPERIMENT_NAME = a/b\nMODEL_NAMES = a\n[HYPERPARAMETERS.b]\n"
    assert [line.split(":")[1] for line in problems(content, above="")] == ["2", "4"]


def test_while_the_models_are_not_known_only_keys_and_values_are_judged(problems: Callable[..., list[str]]) -> None:
    content = "[EXPERIMENT]\nEXPERIMENT_NAME = a\nMODEL_NAMES = a,,b\n[HYPERPARAMETERS.x]\nEPOCHS = 0\n"
    assert [line.split(":")[1] for line in problems(content, above="")] == ["3", "5"]


@pytest.mark.parametrize(
    ("section", "key", "reason"),
    [
        ("HYPERPARAMETERS", "EPOCS", "unknown key; did you mean EPOCHS?"),
        ("HYPERPARAMETERS.convnet", "learning_rat", "unknown key; did you mean LEARNING_RATE?"),
        ("DATA", "Epochs", "unknown key here; it belongs to [HYPERPARAMETERS]"),
        ("EXPERIMENT", "EPOCS", "unknown key; did you mean EPOCHS of [HYPERPARAMETERS]?"),
        ("LOCAL", "FOO", "unknown key; the keys of [LOCAL] are MAX_PARALLEL_JOBS, MAX_RUNTIME"),
    ],
)
def test_an_unknown_key_is_answered_with_what_was_meant(
    problems: Callable[..., list[str]], section: str, key: str, reason: str
) -> None:
    above = "[EXPERIMENT]\nEXPERIMENT_NAME=a\nMODEL_NAMES=convnet\n"
    header = "" if section == "EXPERIMENT" else f"[{section}]"
    assert problems(f"{header}\n{key} = 3\n", above=above) == [f"settings.ini:5: [{section}] {key} = 3: {reason}"]


@pytest.mark.parametrize("again", ["EPOCHS", "epochs"])
def test_a_key_that_comes_twice_is_reported_in_any_case(problems: Callable[..., list[str]], again: str) -> None:
    assert problems(f"[HYPERPARAMETERS]\nEPOCHS = 3\n{again} = 3\n") == [
        f"settings.ini:6: [HYPERPARAMETERS] {again} = 3: this key is set in line 5 already"
    ]


def test_free_keys_come_once_too(problems: Callable[..., list[str]]) -> None:
    assert problems("[USER]\ncsv = a\nCSV = b\n") == [
        "settings.ini:6: [USER] CSV = b: this key is set in line 5 already"
    ]


def test_a_section_that_comes_twice_is_reported_and_its_keys_are_checked(problems: Callable[..., list[str]]) -> None:
    content = "[HYPERPARAMETERS.minilm]\nEPOCHS = 1\n[hyperparameters.MiniLM]\nEPOCHS = 1\nBATCH_SIZE = 0\n"
    assert problems(content) == [
        "settings.ini:6: [hyperparameters.MiniLM]: this section begins in line 4 already; write its keys there",
        "settings.ini:7: [hyperparameters.MiniLM] EPOCHS = 1: this key is set in line 5 already",
        "settings.ini:8: [hyperparameters.MiniLM] BATCH_SIZE = 0: expected a whole number from 1 to 100000",
    ]


def test_a_value_that_is_overridden_has_to_be_right_all_the_same(problems: Callable[..., list[str]]) -> None:
    assert problems("SEED = 0\n", "experiment.seed=1") == [
        "settings.ini:4: [EXPERIMENT] SEED = 0: expected a whole number from 1 to 2147483647"
    ]


def test_a_key_that_was_swallowed_by_the_line_above_is_explained(problems: Callable[..., list[str]]) -> None:
    assert problems("[HYPERPARAMETERS]\nEPOCHS = 3\n  BATCH_SIZE = 8\n") == [
        "settings.ini:5: [HYPERPARAMETERS] EPOCHS = 3\\nBATCH_SIZE = 8: expected a whole number from 1 to 10000; "
        "a line that begins with blanks belongs to the value above it"
    ]
