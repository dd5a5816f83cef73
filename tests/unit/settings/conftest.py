from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from mlpipe.errors import SettingsError
from mlpipe.settings import Settings, load_settings

EXPERIMENT = "[EXPERIMENT]\nEXPERIMENT_NAME = demo\nMODEL_NAMES = minilm, convnet\n"

Load = Callable[..., Settings]
Problems = Callable[..., list[str]]


@pytest.fixture
def load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Load:
    """Load a settings file with this content, by default below a valid [EXPERIMENT] of three lines."""
    monkeypatch.chdir(tmp_path)

    def load(
        content: str | bytes, *options: str, environment: Mapping[str, str] | None = None, above: str = EXPERIMENT
    ) -> Settings:
        raw = content if isinstance(content, bytes) else (above + content).encode()
        Path("settings.ini").write_bytes(raw)
        return load_settings(Path("settings.ini"), options, environment or {})

    return load


@pytest.fixture
def problems(load: Load) -> Problems:
    """The lines of the error that loading such a file ends with."""

    def problems(content: str | bytes, *options: str, **more: Mapping[str, str] | str) -> list[str]:
        with pytest.raises(SettingsError) as caught:
            load(content, *options, **more)
        return caught.value.message.split("\n")

    return problems
