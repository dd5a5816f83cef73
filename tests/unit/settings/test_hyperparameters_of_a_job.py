from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from mlpipe.errors import SettingsError
from mlpipe.settings import Hyperparameters, Settings, load_settings
from mlpipe.settings.resolved import hyperparameters_by_model

TEXT = """
[EXPERIMENT]
EXPERIMENT_NAME = e
MODEL_NAMES = a, b
[USER_HYPERPARAMETERS]
WIDTH = 8
DROPOUT = 0.5
TIED = true
ACTIVATION = relu
[HYPERPARAMETERS]
FREEZE = embeddings.*, encoder.layer.[0-2].*
SCHEDULE = cosine
EMA_DECAY = 1e-9
"""


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    (tmp_path / "settings.ini").write_text(TEXT)
    return load_settings(tmp_path / "settings.ini", (), {})


def test_text_becomes_the_type_that_the_settings_have(settings: Settings):
    wire = {"epochs": "7", "learning_rate": "1", "WIDTH": "16", "DROPOUT": "1", "TIED": "False", "ACTIVATION": "1"}
    changed = settings.with_hyperparameters("a", wire)
    assert (changed.hyperparameters["a"].epochs, changed.hyperparameters["a"].learning_rate) == (7, 1.0)
    free = dict(changed.user_hyperparameters["a"])
    assert free == {"WIDTH": 16, "DROPOUT": 1.0, "TIED": False, "ACTIVATION": "1"}
    assert {name: type(value) for name, value in free.items()}["DROPOUT"] is float
    assert changed.hyperparameters["b"] == settings.hyperparameters["b"]
    assert dict(changed.user_hyperparameters["b"]) == dict(settings.user_hyperparameters["b"])


def test_what_was_written_comes_back_from_the_wire(settings: Settings):
    wire = settings.hyperparameters["a"].as_text()
    assert {type(text) for text in wire.values()} == {str}
    wire |= {name: str(value) for name, value in settings.user_hyperparameters["a"].items()}
    defaults = replace(
        settings, hyperparameters=hyperparameters_by_model({"a": Hyperparameters(), "b": settings.hyperparameters["b"]})
    )
    assert defaults.with_hyperparameters("a", wire) == settings
    assert settings.hyperparameters["a"].freeze == ("embeddings.*", "encoder.layer.[0-2].*")


def test_no_pattern_comes_back_from_the_wire_as_no_pattern(settings: Settings):
    changed = settings.with_hyperparameters("a", Hyperparameters().as_text())
    assert changed.hyperparameters["a"] == Hyperparameters()


@pytest.mark.parametrize("wire", [{"EPOCS": "3"}, {"WIDTH": "wide"}, {"TIED": "maybe"}, {"epochs": "0"}])
def test_what_does_not_fit_is_refused_by_name(settings: Settings, wire: dict[str, str]):
    with pytest.raises(SettingsError, match=f"(?i){next(iter(wire))}"):
        settings.with_hyperparameters("a", wire)
