from __future__ import annotations

from pathlib import Path

import pytest

from mlpipe.errors import SettingsError, UserFunctionError
from mlpipe.user_functions import FUNCTIONS, read_user_source

BODIES = {name: f"def {name}({', '.join(arguments)}):\n    return None\n" for name, arguments in FUNCTIONS.items()}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Five functions, one per file."""
    package = tmp_path / "user_functions"
    package.mkdir()
    for name, body in BODIES.items():
        (package / f"{name}.py").write_text(body)
    return package


def closure_hash(folder: Path, name: str) -> str:
    return read_user_source(folder).functions[name].sha256


def test_a_folder_with_one_function_per_file_is_read(folder: Path):
    source = read_user_source(folder)
    assert {name: (found.file, found.line) for name, found in source.functions.items()} == {
        name: (f"user_functions/{name}.py", 1) for name in FUNCTIONS
    }
    assert set(source.files) == {f"user_functions/{name}.py" for name in FUNCTIONS}


def test_a_single_module_is_read_with_and_without_its_suffix(tmp_path: Path):
    (tmp_path / "functions.py").write_text("\n".join(BODIES.values()))
    for path in (tmp_path / "functions", tmp_path / "functions.py"):
        source = read_user_source(path)
        assert source.package == "functions"
        assert source.functions["encode"].line == 7
        assert set(source.files) == {"functions.py"}


def test_a_function_may_be_imported_into_the_package(folder: Path):
    (folder / "encode.py").rename(folder / "texts.py")
    (folder / "__init__.py").write_text("from .texts import encode\n")
    assert read_user_source(folder).functions["encode"].file == "user_functions/texts.py"


def test_user_code_is_not_executed(folder: Path):
    (folder / "encode.py").write_text("raise SystemExit('executed')\n" + BODIES["encode"])
    assert read_user_source(folder).functions["encode"].line == 2


def test_all_problems_are_reported_with_file_and_line(folder: Path):
    (folder / "encode.py").write_text("\ndef encode(examples):\n    return examples\n")
    (folder / "load_model.py").unlink()
    (folder / "reconcile.py").write_text("def reconcile(settings:\n")
    with pytest.raises(UserFunctionError) as caught:
        read_user_source(folder)
    message = caught.value.message
    assert "user_functions/encode.py:2: encode(examples) is called as encode(examples, processor, model_name" in message
    assert "user_functions/load_model.py or user_functions/__init__.py: no function load_model(model_name" in message
    assert "user_functions/reconcile.py:1:" in message


@pytest.mark.parametrize(
    "definition",
    ["def reconcile(): ...", "def reconcile(settings, other): ...", "def reconcile(settings, *, other): ..."],
)
def test_a_function_that_cannot_be_called_is_refused(folder: Path, definition: str):
    (folder / "reconcile.py").write_text(definition)
    with pytest.raises(UserFunctionError, match=r"is called as reconcile\(settings\)"):
        read_user_source(folder)


@pytest.mark.parametrize("definition", ["def reconcile(s, limit=10): ...", "def reconcile(*arguments): ..."])
def test_a_function_that_can_be_called_is_accepted(folder: Path, definition: str):
    (folder / "reconcile.py").write_text(definition)
    assert read_user_source(folder).functions["reconcile"].line == 1


def test_an_async_function_is_refused(folder: Path):
    (folder / "reconcile.py").write_text("async def reconcile(settings): ...")
    with pytest.raises(UserFunctionError, match=r"reconcile\.py:1: reconcile is async"):
        read_user_source(folder)


def test_a_missing_folder_is_a_settings_error(tmp_path: Path):
    with pytest.raises(SettingsError, match="USER_FUNCTIONS: .*nowhere is neither a folder nor a Python module"):
        read_user_source(tmp_path / "nowhere")


def test_only_what_a_function_can_reach_changes_its_hash(folder: Path):
    (folder / "encode.py").write_text(
        "from .texts import clean\nfrom user_functions import tables\n" + BODIES["encode"]
    )
    (folder / "texts.py").write_text("from . import deeper\ndef clean(text): return text\n")
    (folder / "deeper.py").write_text("A = 1\n")
    (folder / "tables.py").write_text("B = 1\n")
    encode, reconcile = closure_hash(folder, "encode"), closure_hash(folder, "reconcile")
    for name in ("deeper.py", "tables.py", "texts.py"):
        (folder / name).write_text((folder / name).read_text() + "# changed\n")
        changed = closure_hash(folder, "encode")
        assert changed != encode
        encode = changed
    assert closure_hash(folder, "reconcile") == reconcile


def test_data_files_count_for_every_function_and_hidden_ones_for_none(folder: Path):
    before = closure_hash(folder, "reconcile")
    (folder / ".cache").mkdir()
    (folder / ".cache" / "x").write_text("hidden")
    (folder / "__pycache__").mkdir()
    (folder / "__pycache__" / "encode.pyc").write_text("compiled")
    assert closure_hash(folder, "reconcile") == before
    (folder / "vocabulary.txt").write_text("a b c")
    assert closure_hash(folder, "reconcile") != before


def test_modules_that_import_a_name_from_each_other_are_searched_once(folder: Path):
    (folder / "encode.py").write_text("from .other import encode\n")
    (folder / "other.py").write_text("from .encode import encode\n")
    with pytest.raises(UserFunctionError, match="no function encode"):
        read_user_source(folder)


def test_what_was_read_does_not_change_with_the_files(folder: Path):
    source = read_user_source(folder)
    before = source.sha256
    (folder / "encode.py").write_text("changed")
    assert source.sha256 == before
    assert source.files["user_functions/encode.py"].decode() == BODIES["encode"]
