"""`mlpipe run`: the whole experiment."""

from __future__ import annotations

import typer

from mlpipe.cli.arguments import DEFAULT_SETTINGS, New, Overrides, SettingsFile, read_settings


def run(
    context: typer.Context, settings: SettingsFile = DEFAULT_SETTINGS, overrides: Overrides = None, new: New = False
) -> None:
    """Reconcile, prepare, train, infer and report; resumes an interrupted run of the same settings."""
    resolved = read_settings(settings, overrides)
    from mlpipe import experiment  # kept out of --help and of settings errors
    from mlpipe.cli.console import console_listener, print_summary

    with console_listener(context) as listener:
        summary = experiment.run(resolved, listener, new=new)
    print_summary(summary)
    if error := summary.failure():
        raise error
