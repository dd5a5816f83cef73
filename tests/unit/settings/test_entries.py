from __future__ import annotations

from collections.abc import Callable

import pytest

from mlpipe.settings import Settings


def test_an_option_is_split_at_the_first_equals_sign_and_the_last_dot(load: Callable[..., Settings]) -> None:
    settings = load("[USER]\n", "user.query=a.b=c", "hyperparameters.minilm.epochs=1", above=ABOVE_DOTTED)
    assert settings.user["query"] == "a.b=c"
    assert settings.hyperparameters["minilm"].epochs == 1


ABOVE_DOTTED = "[EXPERIMENT]\nEXPERIMENT_NAME = demo\nMODEL_NAMES = minilm, all.v2\n"


def test_a_model_with_a_dot_has_a_section(load: Callable[..., Settings]) -> None:
    content = "[HYPERPARAMETERS.all.v2]\nBATCH_SIZE = 8\n"
    hyperparameters = load(content, "hyperparameters.ALL.v2.epochs=1", above=ABOVE_DOTTED).hyperparameters["all.v2"]
    assert (hyperparameters.epochs, hyperparameters.batch_size) == (1, 8)


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("", "--set : expected section.key=value"),
        ("data.seed", "--set data.seed: expected section.key=value"),
        ("foo=3", "--set foo=3: expected section.key=value"),
        (".epochs=3", "--set .epochs=3: expected section.key=value"),
        ("data.=3", "--set data.=3: expected section.key=value"),
        ("=", "--set =: expected section.key=value"),
        ("Epochs=3", "--set Epochs=3: expected section.key=value; did you mean hyperparameters.epochs=...?"),
    ],
)
def test_an_option_of_another_form_is_refused(problems: Callable[..., list[str]], option: str, message: str) -> None:
    assert problems("", option) == [message]


def test_of_two_equal_options_the_later_one_wins(load: Callable[..., Settings]) -> None:
    assert load("", "experiment.seed=7", "Experiment.Seed = 8").experiment.seed == 8


def test_a_variable_is_split_at_the_first_double_underscore(load: Callable[..., Settings]) -> None:
    environment = {"MLPIPE_DATA__TEST_FRACTION": " 0.3 ", "MLPIPE_USER__a__b": "c"}
    settings = load("", environment=environment)
    assert settings.data.test_fraction == 0.3
    assert dict(settings.user) == {"a__b": "c"}


def test_other_variables_are_ignored(load: Callable[..., Settings]) -> None:
    environment = {"PATH": "/bin", "mlpipe_data__seed": "1", "MLPIPE": "1", "MLPIPE_PARENT_FD": "7", "XMLPIPE_A__B": ""}
    assert load("", environment=environment) == load("")


def test_a_variable_that_is_no_setting_is_refused_without_its_value(problems: Callable[..., list[str]]) -> None:
    environment = {"MLPIPE_TOKEN": "secret", "MLPIPE_DATA__TOKEN": "secret", "MLPIPE_WANDB__TOKEN": "secret"}
    found = problems("", environment=environment)
    assert [line.split(":")[0] for line in found] == [f"environment {name}" for name in sorted(environment)]
    assert found[1] == "environment MLPIPE_TOKEN: no setting; expected MLPIPE_<SECTION>__<KEY>"
    assert "secret" not in "".join(found)


def test_a_wrong_variable_is_named(problems: Callable[..., list[str]]) -> None:
    assert problems("", environment={"MLPIPE_DATA__TEST_FRACTION": "1.5"}) == [
        "environment MLPIPE_DATA__TEST_FRACTION = 1.5: expected a number above 0, at most 0.5"
    ]


def test_two_variables_for_one_setting_are_refused(problems: Callable[..., list[str]]) -> None:
    environment = {"MLPIPE_EXPERIMENT__SEED": "1", "MLPIPE_experiment__seed": "1"}
    assert problems("", environment=environment) == [
        "environment MLPIPE_experiment__seed = 1: this key is set as environment MLPIPE_EXPERIMENT__SEED already"
    ]
