from __future__ import annotations

import copy
import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mlpipe.errors import SettingsError
from mlpipe.settings import Settings
from mlpipe.settings.resolved import NamedValues

CONTENT = """RUN_NUM = 3
SEED = 7
[DATA]
GROUP_KEY = author
SOURCES = a.csv, b.csv
[TRAINING]
THREADS = 2
METRICS = f1, recall
[HYPERPARAMETERS]
LEARNING_RATE = 3e-4
[HYPERPARAMETERS.convnet]
EPOCHS = 12
[LOCAL]
MAX_RUNTIME = 60
[USER]
csv = data/ä.csv
[USER_HYPERPARAMETERS]
width = 128
ratio = 1.0
flag = true
text = "1"
"""


@pytest.fixture
def resolved(load: Callable[..., Settings]) -> Settings:
    return load(CONTENT)


def test_settings_survive_json_with_every_type(resolved: Settings) -> None:
    again = Settings.from_json(json.loads(json.dumps(resolved.to_json())))
    assert again == resolved
    values = again.user_hyperparameters["minilm"]
    assert [(value, type(value)) for value in values.values()] == [
        (128, int),
        (1.0, float),
        (True, bool),
        ('"1"', str),
    ]
    assert again.to_json() == resolved.to_json()


@pytest.mark.parametrize("broken", [{"experiment": {}}, {"root": 3}, {"user": None}, {"data": {"FOO": 1}}])
def test_another_document_is_refused(resolved: Settings, broken: dict[str, Any]) -> None:
    with pytest.raises(SettingsError, match="these are no resolved settings"):
        Settings.from_json(resolved.to_json() | broken)


def test_settings_survive_pickle(resolved: Settings) -> None:
    assert pickle.loads(pickle.dumps(resolved)) == resolved


def test_the_data_functions_are_given_seed_data_and_user_only(resolved: Settings) -> None:
    given = resolved.for_data_functions()
    assert (given.seed, given.data.group_key, given.user["CSV"]) == (7, "author", "data/ä.csv")
    assert json.loads(json.dumps(given.to_json())) == {
        "seed": 7,
        "data": {
            "validation_fraction": 0.1,
            "test_fraction": 0.2,
            "group_key": "author",
            "sources": ["a.csv", "b.csv"],
            "text_column": None,
            "near_duplicate_threshold": 0.8,
        },
        "user": {"csv": "data/ä.csv"},
    }
    assert set(vars(given)) == {"seed", "data", "user"}


def test_the_model_functions_are_given_the_hyperparameters_of_their_model(resolved: Settings) -> None:
    given = resolved.for_model_functions("convnet")
    assert (given.seed, given.hyperparameters.epochs, given.hyperparameters.learning_rate) == (7, 12, 3e-4)
    assert given.user_hyperparameters["WIDTH"] == 128
    assert given.to_json()["hyperparameters"]["epochs"] == 12
    with pytest.raises(KeyError, match="MODEL_NAMES has no 'bert'; it has: minilm, convnet"):
        resolved.for_model_functions("bert")


def test_paths_are_relative_to_the_folder_of_the_file(resolved: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/somebody")
    assert resolved.path("storage") == resolved.root / "storage"
    assert resolved.path("/data/x") == Path("/data/x")
    assert resolved.path("~/x") == Path("/home/somebody/x")
    with pytest.raises(SettingsError, match="home"):
        resolved.path("~nobody-of-this-name/x")


def change(document: dict[str, Any], path: tuple[str, ...], value: object) -> Settings:
    changed = copy.deepcopy(document)
    inner = changed
    for name in path[:-1]:
        inner = inner[name]
    inner[path[-1]] = value
    return Settings.from_json(changed)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("root",), "/elsewhere"),
        (("source",), "/elsewhere/settings.ini"),
        (("experiment", "storage"), "elsewhere"),
        (("experiment", "run_num"), 4),
        (("training", "checkpoint_minutes"), 0.5),
        (("local", "max_runtime"), 61),
        (("tracking", "tracker"), "wandb"),
        (("s3", "region"), "eu-central-1"),
        (("s3", "kms_key_id"), "alias/other"),
    ],
)
def test_where_files_are_and_limits_do_not_make_another_experiment(
    resolved: Settings, path: tuple[str, ...], value: object
) -> None:
    other = change(resolved.to_json(), path, value)
    assert other != resolved
    assert other.fingerprint_document() == resolved.fingerprint_document()


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("experiment", "experiment_name"), "other"),
        (("experiment", "seed"), 8),
        (("experiment", "user_functions"), "other"),
        (("data", "test_fraction"), 0.3),
        (("training", "threads"), 1),
        (("hyperparameters", "convnet", "epochs"), 13),
        (("user_hyperparameters", "minilm", "width"), 129),
        (("inference", "token_budget"), 511),
        (("user", "csv"), "c.csv"),
    ],
)
def test_everything_else_makes_another_experiment(resolved: Settings, path: tuple[str, ...], value: object) -> None:
    other = change(resolved.to_json(), path, value)
    assert other.fingerprint_document() != resolved.fingerprint_document()


def test_the_fingerprint_document_survives_json(resolved: Settings) -> None:
    document = resolved.fingerprint_document()
    assert json.loads(json.dumps(document)) == document


def test_keys_are_found_in_any_case_and_keep_their_spelling() -> None:
    values = NamedValues("[USER]", {"MyKey": "1", "b": "2"})
    assert (values["mykey"], values.get("B"), values.get("c", "3")) == ("1", "2", "3")
    assert "MYKEY" in values
    assert "c" not in values
    assert dict(values) == {"MyKey": "1", "b": "2"}
    assert repr(values) == "NamedValues('[USER]', {'MyKey': '1', 'b': '2'})"


def test_a_missing_key_lists_the_keys_that_there_are() -> None:
    with pytest.raises(KeyError, match=r"\[USER\] has no 'cvs'; it has: csv, b"):
        NamedValues("[USER]", {"csv": "1", "b": "2"})["cvs"]
    with pytest.raises(KeyError, match=r"\[USER\] has no 'csv'; it has: none"):
        NamedValues[str]("[USER]", {})["csv"]


def test_named_values_cannot_be_changed() -> None:
    with pytest.raises(TypeError):
        NamedValues("[USER]", {})["a"] = "b"  # type: ignore[index]
