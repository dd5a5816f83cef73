"""`mlpipe infer`: run a run's models on its test set."""

from __future__ import annotations

from typing import Annotated

import typer

from mlpipe.cli.arguments import DEFAULT_SETTINGS, Overrides, SettingsFile, read_settings


def infer(
    context: typer.Context,
    settings: SettingsFile = DEFAULT_SETTINGS,
    overrides: Overrides = None,
    run_num: Annotated[
        int | None, typer.Option("--run-num", min=1, help="The run; by default the newest committed one.")
    ] = None,
) -> None:
    """Infer a run's test set with its own settings; a committed run is computed again and verified.

    Of the settings given here only [EXPERIMENT], which says where the run is, and [LOCAL] count.
    """
    resolved = read_settings(settings, overrides)
    from mlpipe import experiment  # kept out of --help and of settings errors
    from mlpipe.cli.console import console_listener, print_inferred

    with console_listener(context) as listener:
        inferred = experiment.infer(resolved, listener, run_num)
    print_inferred(inferred)
