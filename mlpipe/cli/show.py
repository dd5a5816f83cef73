"""`mlpipe show`: one run, or the model in production."""

from __future__ import annotations

from typing import Annotated

import typer

from mlpipe.cli.arguments import DEFAULT_SETTINGS, AsJson, Overrides, SettingsFile, read_settings

PRODUCTION = "production"


def show(
    what: Annotated[str, typer.Argument(metavar="RUN_NUM|production", help="The number of the run, or production.")],
    settings: SettingsFile = DEFAULT_SETTINGS,
    overrides: Overrides = None,
    as_json: AsJson = False,
) -> None:
    """Show one run: its state, its models, their results, and where everything lies. Or what is in production."""
    if what != PRODUCTION and not (what.isdecimal() and int(what)):
        raise typer.BadParameter(f"{what!r} is neither the number of a run nor {PRODUCTION!r}", param_hint="RUN_NUM")
    resolved = read_settings(settings, overrides)
    from mlpipe import catalog, experiment, production  # kept out of --help and of settings errors
    from mlpipe.cli.console import print_production, print_run

    storage, tree = experiment.storage_of(resolved), experiment.tree_of(resolved)
    if what == PRODUCTION:
        print_production(production.history_of(storage, tree), as_json=as_json)
    else:
        print_run(catalog.show_run(storage, tree, int(what)), as_json=as_json)
