"""`mlpipe resume`: back to a run that was left."""

from __future__ import annotations

import typer

from mlpipe.cli.arguments import DEFAULT_SETTINGS, Overrides, RunNumber, SettingsFile, read_settings


def resume(
    context: typer.Context, run_num: RunNumber, settings: SettingsFile = DEFAULT_SETTINGS, overrides: Overrides = None
) -> None:
    """Complete a run that was interrupted or detached, with its own settings and functions; running jobs go on.

    Of the settings given here only [EXPERIMENT], which says where the run is, [LOCAL] and [SAGEMAKER] count.
    """
    resolved = read_settings(settings, overrides)
    from mlpipe import experiment  # kept out of --help and of settings errors
    from mlpipe.cli.console import console_listener, print_summary

    with console_listener(context) as listener:
        summary = experiment.resume(resolved, listener, run_num)
    print_summary(summary)
    if error := summary.failure():
        raise error
