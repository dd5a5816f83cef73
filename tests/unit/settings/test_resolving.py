from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from mlpipe.errors import SettingsError
from mlpipe.settings import Settings, load_settings
from mlpipe.settings.schema import SECTION_MODELS

SCALE = [
    "[HYPERPARAMETERS]\nEPOCHS = 1\n",
    "[HYPERPARAMETERS.minilm]\nEPOCHS = 2\n",
    ("MLPIPE_HYPERPARAMETERS__EPOCHS", "3"),
    ("MLPIPE_HYPERPARAMETERS.minilm__EPOCHS", "4"),
    "hyperparameters.epochs=5",
    "hyperparameters.minilm.epochs=6",
]


@pytest.mark.parametrize(
    ("highest", "minilm", "convnet"), [(1, 1, 1), (2, 2, 1), (3, 3, 3), (4, 4, 3), (5, 5, 5), (6, 6, 5)]
)
def test_options_beat_the_environment_and_that_the_file_and_in_each_a_model_the_base(
    load: Callable[..., Settings], highest: int, minilm: int, convnet: int
) -> None:
    written = SCALE[:highest]
    found = load(
        "".join(item for item in written[:2] if isinstance(item, str)),
        *[item for item in written[4:] if isinstance(item, str)],
        environment=dict(item for item in written if isinstance(item, tuple)),
    )
    assert (found.hyperparameters["minilm"].epochs, found.hyperparameters["convnet"].epochs) == (minilm, convnet)


def test_sections_and_keys_are_found_in_any_case(load: Callable[..., Settings]) -> None:
    found = load("[data]\ntest_fraction = 0.3\n[Hyperparameters.MINILM]\nEpochs = 7\n")
    assert found.data.test_fraction == 0.3
    assert found.hyperparameters["minilm"].epochs == 7


def test_user_hyperparameters_of_a_model_are_added_to_those_of_all(load: Callable[..., Settings]) -> None:
    found = load(
        "[USER_HYPERPARAMETERS]\nWidth = 64\nact = gelu\n[USER_HYPERPARAMETERS.convnet]\nWIDTH = 1e2\ndeep = true\n"
    )
    assert dict(found.user_hyperparameters["minilm"]) == {"Width": 64, "act": "gelu"}
    assert dict(found.user_hyperparameters["convnet"]) == {"Width": 100.0, "act": "gelu", "deep": True}


def test_free_keys_keep_the_spelling_of_the_file(load: Callable[..., Settings]) -> None:
    found = load("[USER]\nMyPath = a\n", "user.MYPATH=b", "user.new=c", environment={"MLPIPE_USER__mypath": "d"})
    assert dict(found.user) == {"MyPath": "b", "new": "c"}


def test_the_settings_know_their_file_and_folder(load: Callable[..., Settings], tmp_path: Path) -> None:
    found = load("")
    assert (found.root, found.source) == (tmp_path, tmp_path / "settings.ini")


def test_every_problem_of_every_source_is_in_one_error_in_order(problems: Callable[..., list[str]]) -> None:
    content = """SEED = 0
junk
[HYPERPARAMETERS]
EPOCS = 3
[DATA]
TEST_FRACTION = 1.5
SOURCES = $HOME/a.csv
[TRAINING]
METRICS = accuracy
"""
    found = problems(content, "training.thread=1", environment={"MLPIPE_DATA__GROUPKEY": "x"})
    assert found == [
        "settings.ini:4: [EXPERIMENT] SEED = 0: expected a whole number from 1 to 2147483647",
        "settings.ini:5: junk: expected [SECTION], KEY = value or a comment",
        "settings.ini:7: [HYPERPARAMETERS] EPOCS = 3: unknown key; did you mean EPOCHS?",
        "settings.ini:9: [DATA] TEST_FRACTION = 1.5: expected a number above 0, at most 0.5",
        "settings.ini:10: [DATA] SOURCES = $HOME/a.csv: "
        "a lone $: write $$ for a dollar sign, ${KEY} or ${SECTION:KEY} for another value",
        "settings.ini:12: [TRAINING] METRICS = accuracy: OBJECTIVE_METRIC_NAME, which is f1, has to be one of METRICS",
        "environment MLPIPE_DATA__GROUPKEY: unknown key; did you mean GROUP_KEY?",
        "--set training.thread = 1: unknown key; did you mean THREADS?",
    ]


def test_a_missing_key_is_reported_at_its_section(problems: Callable[..., list[str]]) -> None:
    assert problems("\n[experiment]\nEXPERIMENT_NAME = a\n", above="[DATA]") == [
        "settings.ini:2: [experiment]: MODEL_NAMES is missing: write MODEL_NAMES = my-model"
    ]


def test_a_required_key_may_come_from_an_option(load: Callable[..., Settings]) -> None:
    found = load("[USER]\n", "experiment.experiment_name=a", "experiment.model_names=b", above="")
    assert found.experiment.model_names == ("b",)


def test_a_file_of_nothing_but_mistakes_is_answered(problems: Callable[..., list[str]]) -> None:
    found = problems("[LOCAL]\n" + "".join(f"MAX_RUNTIM{n} = 1\n" for n in range(10_000)))
    assert len(found) == 101
    assert len(problems("".join(f"[X{n}]\n" for n in range(10_000)))) == 101


def test_settings_are_read_without_the_libraries_of_jobs_and_cloud() -> None:
    script = "import sys, mlpipe.settings; print(*sys.modules)"
    output = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    assert not {"torch", "transformers", "datasets", "numpy", "boto3", "typer", "rich"} & set(output.split())


def place(line: str) -> tuple[int, float]:
    """Where a line of the error says that its problem is."""
    file = re.match(r".*property\.ini(?::(\d+))?: ", line)
    if file:
        return (0, float(file[1] or "inf"))
    return (1 if line.startswith("environment ") else 2, 0)


def loads_or_explains(folder: Path, content: bytes, options: list[str], environment: dict[str, str]) -> None:
    path = folder / "property.ini"
    path.write_bytes(content)
    try:
        found = load_settings(path, options, environment)
    except SettingsError as error:
        lines = [line for line in error.message.split("\n") if not line.startswith("and more: ")]
        assert all(lines)
        assert [place(line) for line in lines] == sorted(place(line) for line in lines)
    else:
        assert Settings.from_json(found.to_json()) == found


keys = st.sampled_from([key.upper() for section in SECTION_MODELS.values() for key in section.model_fields] + ["FOO"])
sections = st.sampled_from([*SECTION_MODELS, "USER", "USER_HYPERPARAMETERS", "HYPERPARAMETERS.a", "TUNING", "data", ""])
values = st.one_of(
    st.sampled_from(
        ["", "1", "0.1", "auto", "a", "a, b", "f1", "none", "nan", "$", "$$", "${SEED}", "a\n  b", "1 -> 2"]
    ),
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=8),
)
lines = st.one_of(
    sections.map(lambda name: f"[{name}]"),
    st.tuples(keys, values).map(lambda pair: f"{pair[0]} = {pair[1]}"),
    st.sampled_from(
        ["[EXPERIMENT]\nEXPERIMENT_NAME = x\nMODEL_NAMES = a, b", "[USER", "junk", "= 1", " [x]", "# c", ""]
    ),
    values,
)
options = st.lists(st.tuples(sections, keys, values).map(lambda item: f"{item[0]}.{item[1]}={item[2]}"), max_size=2)
environments = st.dictionaries(
    st.tuples(sections, keys).map(lambda item: f"MLPIPE_{item[0]}__{item[1]}"), values, max_size=2
)


@given(st.lists(lines, max_size=15).map("\n".join), options, environments)
@example("[EXPERIMENT]\nEXPERIMENT_NAME = x\nMODEL_NAMES = a\n[USER_HYPERPARAMETERS]\nA = -0.0\nB = 1e308\n", [], {})
@settings(max_examples=400, database=None, deadline=None)
def test_text_loads_or_ends_in_one_error_in_file_order(
    tmp_path_factory: pytest.TempPathFactory, content: str, options: list[str], environment: dict[str, str]
) -> None:
    loads_or_explains(tmp_path_factory.getbasetemp(), content.encode(), options, environment)


@given(st.binary(max_size=60), st.lists(st.text(max_size=20), max_size=2), st.dictionaries(st.text(), st.text()))
@settings(max_examples=200, database=None, deadline=None)
def test_bytes_load_or_end_in_one_error(
    tmp_path_factory: pytest.TempPathFactory, content: bytes, options: list[str], environment: dict[str, str]
) -> None:
    loads_or_explains(tmp_path_factory.getbasetemp(), content, options, environment)


def test_what_is_tuned_is_kept_as_written_and_has_its_first_value_until_then(load: Callable[..., Settings]) -> None:
    settings = load(
        "[HYPERPARAMETERS]\nLEARNING_RATE = 1e-5 -> 1e-3 log\nEPOCHS = 4\n"
        "[HYPERPARAMETERS.convnet]\nLEARNING_RATE = 0.1\nBATCH_SIZE = 16, 32\nFREEZE = a.*, b.*\n"
        "[USER_HYPERPARAMETERS]\nWIDTH = 8 -> 64\n"
    )
    assert dict(settings.tunables["minilm"]) == {"learning_rate": "1e-5 -> 1e-3 log", "WIDTH": "8 -> 64"}
    assert dict(settings.tunables["convnet"]) == {"batch_size": "16, 32", "WIDTH": "8 -> 64"}
    assert settings.hyperparameters["minilm"].learning_rate == 1e-5
    assert settings.user_hyperparameters["minilm"]["WIDTH"] == 8
    assert set(settings.space("convnet")) == {"batch_size", "WIDTH"}
    assert Settings.from_json(settings.to_json()) == settings
    tuned = settings.tuned("minilm", {"learning_rate": "2e-4", "WIDTH": "16"})
    assert tuned.tunables["minilm"] == {}
    assert tuned.tunables["convnet"] == settings.tunables["convnet"]
    assert (tuned.hyperparameters["minilm"].learning_rate, tuned.user_hyperparameters["minilm"]["WIDTH"]) == (2e-4, 16)
