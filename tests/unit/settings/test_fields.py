from __future__ import annotations

import pytest

from mlpipe.settings.fields import METRIC_NAMES, expectation, scalar
from mlpipe.settings.schema import Data, Experiment, Hyperparameters, Inference, Training
from mlpipe.specs import Scalar


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("16", 16),
        ("-3", -3),
        ("+7", 7),
        ("007", 7),
        ("12345678901234567890", 12345678901234567890),
        ("0.5", 0.5),
        (".5", 0.5),
        ("2.", 2.0),
        ("1e-3", 1e-3),
        ("1E5", 1e5),
        ("true", True),
        ("False", False),
        ("", ""),
        ("gelu", "gelu"),
        ("1_000", "1_000"),
        ("0x10", "0x10"),
        ("1e", "1e"),
        ("٣", "٣"),
        ("yes", "yes"),
        ("None", "None"),
    ],
)
def test_a_user_hyperparameter_has_the_type_that_it_is_written_in(text: str, value: Scalar) -> None:
    assert (scalar(text), type(scalar(text))) == (value, type(value))


@pytest.mark.parametrize("text", ["nan", "NaN", "inf", "-Infinity", "1e999"])
def test_a_number_that_is_not_finite_is_no_user_hyperparameter(text: str) -> None:
    with pytest.raises(ValueError, match="expected a finite number"):
        scalar(text)


def test_a_user_hyperparameter_has_at_most_256_characters() -> None:
    assert scalar("9" * 256) == int("9" * 256)
    with pytest.raises(ValueError, match="at most 256 characters"):
        scalar("9" * 257)


@pytest.mark.parametrize(
    ("section", "field", "words"),
    [
        (Experiment, "seed", "a whole number from 1 to 2147483647"),
        (Experiment, "run_num", "auto or a whole number from 1 to 999999999"),
        (Experiment, "backend", "local or sagemaker"),
        (Data, "test_fraction", "a number above 0, at most 0.5"),
        (Data, "group_key", "text on one line, or nothing"),
        (Training, "mixed_precision", "no, bf16 or fp16"),
        (Training, "use_distributed", "yes or no"),
        (
            Training,
            "metrics",
            f"one or more of {', '.join(METRIC_NAMES)} and hub:<a name on the hub>, separated by commas",
        ),
        (Hyperparameters, "label_smoothing", "a number from 0, below 1"),
        (Hyperparameters, "freeze", "patterns separated by commas, or nothing"),
        (Hyperparameters, "max_grad_norm", "a number of at least 0"),
        (Inference, "token_budget", "a whole number from 1 to 10000000"),
    ],
)
def test_type_and_range_are_said_in_words(section: type[Data], field: str, words: str) -> None:
    assert expectation(section.model_fields[field]) == words
