"""An experiment as the steps see it: settings, functions and a storage in a folder of their own."""

from __future__ import annotations

from pathlib import Path

import pytest

from mlpipe.settings import load_settings
from mlpipe.steps.workplace import QuietListener, Workplace
from mlpipe.storage import LocalStorage
from mlpipe.user_functions import FUNCTIONS, read_user_source


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    text = (
        "[EXPERIMENT]\nEXPERIMENT_NAME = e\nMODEL_NAMES = m\nUSER_FUNCTIONS = functions\n[DATA]\nSOURCES = rows.csv\n"
    )
    (tmp_path / "settings.ini").write_text(text)
    bodies = [f"def {name}({', '.join(arguments)}): return None" for name, arguments in FUNCTIONS.items()]
    (tmp_path / "functions.py").write_text("\n".join(bodies))
    (tmp_path / "rows.csv").write_text("a")
    return tmp_path


class Notes(QuietListener):
    """Keeps what the steps decide."""

    def __init__(self, told: list[str]) -> None:
        self._told = told

    def note(self, text: str) -> None:
        self._told.append(text)


@pytest.fixture
def told() -> list[str]:
    """What the steps tell the listener of the workplace."""
    return []


@pytest.fixture
def place(folder: Path, told: list[str]) -> Workplace:
    """A workplace without a backend: no job can be started in it."""
    storage, source = LocalStorage(folder / "storage"), read_user_source(folder / "functions")
    return Workplace(load_settings(folder / "settings.ini", (), {}), source, storage, None, Notes(told))
