"""`mlpipe report`: the report of a run and its model cards, made again."""

from __future__ import annotations

from typing import Annotated

import typer

from mlpipe.cli.arguments import DEFAULT_SETTINGS, AsJson, Overrides, RunNumber, SettingsFile, read_settings


def report(
    run_num: RunNumber,
    settings: SettingsFile = DEFAULT_SETTINGS,
    overrides: Overrides = None,
    is_opened: Annotated[bool, typer.Option("--open", help="Open the report in the browser.")] = False,
    as_json: AsJson = False,
) -> None:
    """Write the report of a run and the card of each of its models, as `run` does in the end."""
    resolved = read_settings(settings, overrides)
    from mlpipe import experiment  # kept out of --help and of settings errors
    from mlpipe.cli.console import print_json, stdout

    locations = experiment.report(resolved, run_num)
    if as_json:
        print_json({"report": locations[0], "model_cards": locations[1:]})
    else:
        for location in locations:
            stdout().print(location, soft_wrap=True)
    if is_opened:
        _open(locations[0])


def _open(location: str) -> None:
    """Show a page in the user's browser; UsageError where it is no file of this machine, or there is no browser."""
    import webbrowser
    from pathlib import Path

    from mlpipe.errors import UsageError

    if "://" in location:
        raise UsageError(f"--open: {location} is no file of this machine", hint=f"aws s3 cp {location} .")
    if not webbrowser.open(Path(location).as_uri()):
        raise UsageError("--open: no browser was found", hint=f"the report is {location}")
