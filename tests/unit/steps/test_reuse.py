from __future__ import annotations

from pathlib import Path

import pytest

from mlpipe.errors import SettingsError
from mlpipe.manifest import digest
from mlpipe.settings import Settings, load_settings
from mlpipe.steps.outcomes import Snapshot
from mlpipe.steps.reuse import data_inputs, find, remember, source_inputs
from mlpipe.steps.workplace import QuietListener, Workplace
from mlpipe.storage import LocalStorage
from mlpipe.user_functions import read_user_source

KEY = "e/data/prepared/{}"


def settings(folder: Path, *overrides: str) -> Settings:
    return load_settings(folder / "settings.ini", overrides, {})


def lookup(folder: Path, *overrides: str, made: str = "") -> object:
    """What is found for the present files and settings; with `made` they are remembered first."""
    resolved = settings(folder, *overrides)
    source = read_user_source(folder / "functions")
    storage = LocalStorage(folder / "storage")
    place = Workplace(resolved, source, storage, None, QuietListener())  # no backend: no job is started here
    inputs = data_inputs(resolved, source, ("encode",)) | source_inputs(resolved)
    if made:
        storage.write(f"{KEY.format(made)}/manifest.json", b'{"files": {}}')
        storage.write(f"{KEY.format(made)}/_SUCCESS", digest(b'{"files": {}}').encode())
        remember(place, "prepare", inputs, made)
        return None
    return find(place, "prepare", inputs, KEY)


def test_nothing_was_made_before(folder: Path):
    assert lookup(folder) == "it was not made before"


def test_what_was_made_from_the_same_inputs_is_found(folder: Path):
    lookup(folder, made="one")
    found = lookup(folder)
    assert isinstance(found, Snapshot)
    assert (found.address, found.is_reused) == ("one", True)


def test_a_snapshot_that_was_deleted_is_made_again(folder: Path):
    lookup(folder, made="one")
    LocalStorage(folder / "storage").delete(KEY.format("one"))
    assert lookup(folder) == "snapshot one is gone"


@pytest.mark.parametrize(
    ("change", "overrides", "reason"),
    [
        ("", ("data.test_fraction=0.3",), "[DATA] TEST_FRACTION has changed from 0.2 to 0.3"),
        ("", ("user.new=1",), "[USER] new is new"),
        ("functions.py", (), "encode() has changed"),
        ("rows.csv", (), "rows.csv has changed"),
    ],
)
def test_the_first_input_that_differs_is_named(folder: Path, change: str, overrides: tuple[str, ...], reason: str):
    lookup(folder, made="one")
    if change:
        text = (folder / change).read_text()
        (folder / change).write_text(text.replace("settings): return None", "settings): return 1") + " ")
    found = lookup(folder, *overrides)
    assert isinstance(found, str)
    assert found.endswith(reason)


def test_the_most_similar_inputs_are_compared_not_only_the_newest(folder: Path):
    lookup(folder, made="one")
    lookup(folder, "data.test_fraction=0.3", "data.validation_fraction=0.3", made="two")
    assert lookup(folder, "data.test_fraction=0.4") == "[DATA] TEST_FRACTION has changed from 0.2 to 0.4"


def test_a_source_that_is_not_there_is_a_settings_error(folder: Path):
    (folder / "rows.csv").unlink()
    with pytest.raises(SettingsError, match=r"\[DATA\] SOURCES: .*rows\.csv does not exist"):
        lookup(folder)
