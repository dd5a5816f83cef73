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


@pytest.fixture
def place(folder: Path) -> Workplace:
    """A workplace without a backend: no job can be started in it."""
    storage, source = LocalStorage(folder / "storage"), read_user_source(folder / "functions")
    return Workplace(load_settings(folder / "settings.ini", (), {}), source, storage, None, QuietListener())
