"""settings.ini.example runs the demo and is the reference: it has to say what the schema says."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from mlpipe.settings import Settings, load_settings
from mlpipe.settings.fields import expectation
from mlpipe.settings.schema import SECTION_MODELS, SECTION_NAMES

EXAMPLE = Path(__file__).parents[3] / "settings.ini.example"
TEXT = EXAMPLE.read_text(encoding="utf-8")
FIELDS = [(section, key) for section, model in SECTION_MODELS.items() for key in model.model_fields]


def documentation(section: str, key: str) -> str:
    """The comment above a key, as one line."""
    body = re.split(r"^\[", TEXT.split(f"\n[{section}]\n")[1], flags=re.MULTILINE)[0]
    comment = re.search(rf"((?:^# .*\n)+)(?:; )?{key.upper()} =", body, re.MULTILINE)
    assert comment, f"{key.upper()} of [{section}] is not documented"
    return " ".join(line.removeprefix("# ") for line in comment[1].splitlines())


def load(text: str, folder: Path) -> Settings:
    path = folder / "settings.ini"
    path.write_text(text, encoding="utf-8")
    return load_settings(path, environment={})


def test_the_example_loads_and_is_the_demo(tmp_path: Path) -> None:
    settings = load(TEXT, tmp_path)
    assert settings.experiment.experiment_name == "stdlib-docstrings"
    assert settings.experiment.model_names == ("minilm", "convnet")
    assert settings.data.text_column == "text"
    assert settings.hyperparameters["minilm"].epochs == 3
    assert {"MIN_DOCSTRINGS", "MIN_WORDS", "MAX_TOKENS"} <= set(settings.user)


@pytest.mark.parametrize(("section", "key"), FIELDS)
def test_every_key_is_documented_with_its_meaning_and_range(section: str, key: str) -> None:
    field = SECTION_MODELS[section].model_fields[key]
    text = documentation(section, key)
    assert text.startswith(f"{field.description} Expected: {expectation(field)}.")


@pytest.mark.parametrize(("section", "key"), FIELDS)
def test_every_key_is_documented_with_its_default(section: str, key: str) -> None:
    model = SECTION_MODELS[section]
    field = model.model_fields[key]
    text = documentation(section, key)
    if field.is_required():
        assert text.endswith(" Required.")
    else:
        default = re.search(r" Default: (.*)\.$", text)
        assert default
        written = "" if default[1] == "nothing" else default[1]
        required = {"experiment_name": "a", "model_names": "a"} if section == "EXPERIMENT" else {}
        assert getattr(model.model_validate({**required, key: written}), key) == field.default


def test_the_keys_behind_a_semicolon_have_their_defaults(tmp_path: Path) -> None:
    written_out = re.sub(r"^; ([A-Z_]+ =)", r"\1", TEXT, flags=re.MULTILINE)
    assert written_out != TEXT
    assert load(written_out, tmp_path) == load(TEXT, tmp_path)


def test_every_section_is_documented() -> None:
    found = set(re.findall(r"^\[([A-Z0-9_]+)", TEXT, re.MULTILINE))
    assert found == set(SECTION_NAMES)


def test_lines_fit_on_a_screen() -> None:
    assert max(len(line) for line in TEXT.splitlines()) <= 120
