"""`mlpipe train`: train and export every model."""

from __future__ import annotations

from typing import Annotated

import typer

from mlpipe.cli.arguments import DEFAULT_SETTINGS, New, Overrides, SettingsFile, read_settings

FromBest = Annotated[
    int | None, typer.Option("--from-best", min=1, metavar="RUN_NUM", help="Train with what this run has found best.")
]


def train(
    context: typer.Context,
    settings: SettingsFile = DEFAULT_SETTINGS,
    overrides: Overrides = None,
    new: New = False,
    from_best: FromBest = None,
) -> None:
    """Train and export every model, and leave the test set unopened."""
    resolved = read_settings(settings, overrides)
    from mlpipe import experiment  # kept out of --help and of settings errors
    from mlpipe.cli.console import console_listener, print_trained

    with console_listener(context) as listener:
        trained = experiment.train(resolved, listener, new=new, best_of_run=from_best)
    print_trained(trained)
