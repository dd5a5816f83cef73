"""Arguments that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from mlpipe.settings import Settings

SettingsFile = Annotated[Path, typer.Argument(metavar="[SETTINGS]", help="The settings file.", show_default=True)]
Overrides = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="SECTION.KEY=VALUE", help="Override one setting; may be given several times."),
]
New = Annotated[bool, typer.Option("--new", help="Claim a new run number even where a run could be resumed.")]
RunNumber = Annotated[int, typer.Argument(metavar="RUN_NUM", min=1, help="The number of the run.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]

DEFAULT_SETTINGS = Path("settings.ini")


def read_settings(path: Path, overrides: list[str] | None) -> Settings:
    """Load the settings of a command."""
    from mlpipe.settings import load_settings  # pydantic is not needed for --help

    return load_settings(path, overrides or ())
