"""The files that [DATA] SOURCES names: what they are, and copies of them for a job that cannot see them."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

from mlpipe.errors import SettingsError
from mlpipe.settings import Settings


def source_files(settings: Settings) -> Iterator[tuple[str, Path]]:
    """Every file, by the name that it has in the settings; a folder stands for all files below it.

    A folder that was moved or cloned has the same names. SettingsError where one is missing.
    """
    for text in settings.data.sources:
        path = settings.path(text)
        if not path.exists():
            raise SettingsError(f"[DATA] SOURCES: {path} does not exist", hint="correct the path, or remove it")
        files = sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]
        yield from (((Path(text) / file.relative_to(path)).as_posix(), file) for file in files)


def copy_sources(settings: Settings, folder: Path) -> None:
    """Copy every file to where its name leads from `folder`; SettingsError where that is outside."""
    for name, file in source_files(settings):
        if Path(name).is_absolute() or ".." in Path(name).parts:
            raise SettingsError(
                f"[DATA] SOURCES: {name} is not below the folder of the settings file",
                hint="a job on another machine is sent what is below that folder; move it there",
            )
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, target)
