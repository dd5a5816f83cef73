"""`mlpipe tune`: the whole experiment, with hyperparameters searched for."""

from __future__ import annotations

import typer

from mlpipe.cli.arguments import DEFAULT_SETTINGS, New, Overrides, SettingsFile, read_settings


def tune(
    context: typer.Context, settings: SettingsFile = DEFAULT_SETTINGS, overrides: Overrides = None, new: New = False
) -> None:
    """Reconcile, prepare, tune, infer and report: the best trial of each model becomes the model of the run.

    Models without tunables are trained. `mlpipe run` does the same where the settings have tunables.
    """
    resolved = read_settings(settings, overrides)
    from mlpipe import experiment  # kept out of --help and of settings errors
    from mlpipe.cli.console import console_listener, print_summary

    with console_listener(context) as listener:
        summary = experiment.tune(resolved, listener, new=new)
    print_summary(summary)
    if error := summary.failure():
        raise error
