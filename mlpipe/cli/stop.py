"""`mlpipe stop`: the end of a run that is at work."""

from __future__ import annotations

import typer

from mlpipe.cli.arguments import DEFAULT_SETTINGS, Overrides, RunNumber, SettingsFile, read_settings


def stop(run_num: RunNumber, settings: SettingsFile = DEFAULT_SETTINGS, overrides: Overrides = None) -> None:
    """End the command that works on a run, and its jobs; `mlpipe resume` can go on from their checkpoints."""
    resolved = read_settings(settings, overrides)
    from mlpipe import attendance, experiment  # kept out of --help and of settings errors

    for ended in attendance.stop_run(*experiment.find(resolved, run_num)):
        typer.echo(f"{ended}: stopped")
