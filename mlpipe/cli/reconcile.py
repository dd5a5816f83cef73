"""`mlpipe reconcile`: collect the labelled rows."""

from __future__ import annotations

from typing import Annotated

import typer

from mlpipe.cli.arguments import DEFAULT_SETTINGS, Overrides, SettingsFile, read_settings


def reconcile(
    context: typer.Context,
    settings: SettingsFile = DEFAULT_SETTINGS,
    overrides: Overrides = None,
    force: Annotated[bool, typer.Option("--force", help="Collect the rows even where nothing has changed.")] = False,
) -> None:
    """Collect the labelled rows into a snapshot that is addressed by its content."""
    resolved = read_settings(settings, overrides)
    from mlpipe import experiment  # kept out of --help and of settings errors
    from mlpipe.cli.console import console_listener, print_snapshot

    with console_listener(context) as listener:
        snapshot = experiment.reconcile(resolved, listener, force=force)
    print_snapshot(snapshot)
