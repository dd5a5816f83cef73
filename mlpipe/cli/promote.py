"""`mlpipe promote`: put a model into production."""

from __future__ import annotations

from typing import Annotated

import typer

from mlpipe.cli.arguments import DEFAULT_SETTINGS, Overrides, SettingsFile, read_settings


def promote(
    run_num: Annotated[int, typer.Argument(metavar="RUN_NUM", min=1, help="The number of the run.")],
    model: Annotated[str, typer.Option("--model", metavar="MODEL_NAME", help="Which of the run's models.")],
    settings: SettingsFile = DEFAULT_SETTINGS,
    overrides: Overrides = None,
    reason: Annotated[str, typer.Option("--reason", help="Why, for the history.")] = "",
    force: Annotated[
        bool, typer.Option("--force", help="Even where it is not seen to be as good as the present one.")
    ] = False,
) -> None:
    """Put a model of a committed run into production: production.json says which one it is, and which were before."""
    resolved = read_settings(settings, overrides)
    from mlpipe import catalog, experiment, production  # kept out of --help and of settings errors
    from mlpipe.cli.console import print_promotion

    storage, tree = experiment.storage_of(resolved), experiment.tree_of(resolved)
    run = catalog.find_run(storage, tree, run_num)
    print_promotion(production.promote(storage, tree, run, model, reason=reason, force=force))
