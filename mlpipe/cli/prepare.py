"""`mlpipe prepare`: split and encode the rows."""

from __future__ import annotations

import typer

from mlpipe.cli.arguments import DEFAULT_SETTINGS, Overrides, SettingsFile, read_settings


def prepare(context: typer.Context, settings: SettingsFile = DEFAULT_SETTINGS, overrides: Overrides = None) -> None:
    """Split the rows and encode them for every model, after collecting them where that is needed."""
    resolved = read_settings(settings, overrides)
    from mlpipe import experiment  # kept out of --help and of settings errors
    from mlpipe.cli.console import console_listener, print_snapshot

    with console_listener(context) as listener:
        snapshot = experiment.prepare(resolved, listener)
    print_snapshot(snapshot)
