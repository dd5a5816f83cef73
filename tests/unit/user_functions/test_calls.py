from __future__ import annotations

from pathlib import Path

import pytest

from mlpipe.errors import JobStopped, UserFunctionError
from mlpipe.settings import Data, DataFunctionSettings, Hyperparameters, ModelFunctionSettings
from mlpipe.user_functions import UserFunctions, user_code

FIVE = """
def reconcile(settings):
    yield {"label": "a"}
    yield {"label": "b"}

def load_processor(model_name, settings):
    return model_name.upper()

def encode(examples, processor, model_name, settings):
    return {"input_ids": [[len(text)] for text in examples["text"]]}

def load_model(model_name, id2label, settings):
    return len(id2label) * settings.user_hyperparameters["WIDTH"]

def ordered_input_keys(model_name, settings):
    return ["input_ids"]
"""

SETTINGS = DataFunctionSettings(seed=1, data=Data(), user={})
MODEL_SETTINGS = ModelFunctionSettings(
    seed=1, data=Data(), user={}, hyperparameters=Hyperparameters(), user_hyperparameters={"WIDTH": 8}
)


def load(folder: Path, source: str = FIVE) -> UserFunctions:
    (folder / "functions.py").write_text(source)
    return UserFunctions.load(folder, "functions")


def replaced(folder: Path, name: str, body: str) -> UserFunctions:
    """The five functions with one of them defined again behind the others, from line 18 on."""
    return load(folder, FIVE + f"\n{body}\n")


def test_the_five_functions_are_called_with_what_their_contracts_say(tmp_path: Path):
    functions = load(tmp_path)
    assert list(functions.reconcile(SETTINGS)) == [{"label": "a"}, {"label": "b"}]
    assert functions.load_processor("m", SETTINGS) == "M"
    assert functions.encode({"text": ["abc"]}, None, "m", SETTINGS, ids=["1"]) == {"input_ids": [[3]]}
    assert functions.load_model("m", {0: "a", 1: "b"}, MODEL_SETTINGS) == 16
    assert functions.ordered_input_keys("m", MODEL_SETTINGS) == {"input_ids": 0}


def test_code_loaded_from_another_folder_is_not_mixed_up(tmp_path: Path):
    for number in (1, 2):
        folder = tmp_path / str(number)
        folder.mkdir()
        source = FIVE.replace("model_name.upper()", str(number))
        assert load(folder, source).load_processor("m", SETTINGS) == number


def test_a_failing_function_is_reported_with_its_line_and_what_it_was_given(tmp_path: Path):
    functions = load(tmp_path)
    with pytest.raises(UserFunctionError) as caught:
        functions.encode({"body": ["abc", "d"]}, None, "m", SETTINGS, ids=["r7", "r9"])
    assert caught.value.message == "encode() failed at functions.py:10: KeyError: 'text'"
    assert caught.value.hint == "it was given 2 rows (ids r7 to r9) for model m, columns body"
    assert isinstance(caught.value.__cause__, KeyError)


def test_a_failure_between_rows_says_how_many_came_before(tmp_path: Path):
    body = "def reconcile(settings):\n    yield {'label': 'a'}\n    raise OSError('no such table')"
    rows = replaced(tmp_path, "reconcile", body).reconcile(SETTINGS)
    next(rows)
    with pytest.raises(UserFunctionError) as caught:
        next(rows)
    assert caught.value.message == "reconcile() failed at functions.py:20: OSError: no such table"
    assert caught.value.hint == "it was given the settings, and had yielded 1 rows"


@pytest.mark.parametrize("code", ["0", "1", "'bye'"])
def test_calling_sys_exit_is_a_failure(tmp_path: Path, code: str):
    functions = replaced(tmp_path, "load_processor", f"def load_processor(m, s):\n    raise SystemExit({code})")
    with pytest.raises(UserFunctionError, match=r"load_processor\(\) failed at functions.py:19: SystemExit"):
        functions.load_processor("m", SETTINGS)


@pytest.mark.parametrize("returned", ["None", "5"])
def test_a_reconcile_that_returns_no_rows_is_a_failure(tmp_path: Path, returned: str):
    functions = replaced(tmp_path, "reconcile", f"def reconcile(s):\n    return {returned}")
    with pytest.raises(UserFunctionError, match=r"reconcile\(\)"):
        list(functions.reconcile(SETTINGS))


@pytest.mark.parametrize("returned", ["None", "[1]", "'text'"])
def test_an_encode_that_returns_no_mapping_is_a_failure(tmp_path: Path, returned: str):
    functions = replaced(tmp_path, "encode", f"def encode(e, p, m, s):\n    return {returned}")
    with pytest.raises(UserFunctionError, match=r"encode\(\) returned .*a mapping of lists is expected"):
        functions.encode({"text": ["a"]}, None, "m", SETTINGS, ids=["1"])


@pytest.mark.parametrize("returned", ["None", "[]", "'input_ids'", "['a', 'a']", "{'a': 'x'}", "[1]", "5"])
def test_input_keys_that_name_no_inputs_are_a_failure(tmp_path: Path, returned: str):
    functions = replaced(tmp_path, "ordered_input_keys", f"def ordered_input_keys(m, s):\n    return {returned}")
    with pytest.raises(UserFunctionError, match=r"ordered_input_keys\(\) returned"):
        functions.ordered_input_keys("m", MODEL_SETTINGS)


def test_padding_values_are_kept_in_order(tmp_path: Path):
    body = "def ordered_input_keys(m, s):\n    return {'input_ids': 1, 'bbox': 0, 'scale': -0.5}"
    keys = replaced(tmp_path, "ordered_input_keys", body).ordered_input_keys("m", MODEL_SETTINGS)
    assert list(keys.items()) == [("input_ids", 1), ("bbox", 0), ("scale", -0.5)]


def test_an_import_error_names_the_users_line(tmp_path: Path):
    with pytest.raises(
        UserFunctionError, match=r"the import of functions failed at functions.py:1: ModuleNotFoundError"
    ):
        load(tmp_path, "import no_such_package\n" + FIVE)


def test_a_function_that_is_still_running_when_the_job_is_stopped_is_named(tmp_path: Path):
    functions = replaced(
        tmp_path,
        "load_processor",
        "def load_processor(m, s):\n    from mlpipe.errors import JobStopped\n    raise JobStopped",
    )
    with pytest.raises(UserFunctionError, match=r"load_processor\(\) was still running at functions.py:20"):
        functions.load_processor("m", SETTINGS)


def test_a_stop_of_the_job_is_not_blamed_on_code_that_may_take_long():
    with pytest.raises(JobStopped), user_code("forward()", "a batch"):
        raise JobStopped
