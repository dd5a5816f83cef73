"""`mlpipe show`: one run."""

from __future__ import annotations

from typing import Annotated

import typer

from mlpipe.cli.arguments import DEFAULT_SETTINGS, AsJson, Overrides, SettingsFile, read_settings


def show(
    run_num: Annotated[int, typer.Argument(min=1, help="The number of the run.")],
    settings: SettingsFile = DEFAULT_SETTINGS,
    overrides: Overrides = None,
    as_json: AsJson = False,
) -> None:
    """Show one run: its state, its models, their results, and where everything lies."""
    resolved = read_settings(settings, overrides)
    from mlpipe import catalog, experiment  # kept out of --help and of settings errors
    from mlpipe.cli.console import print_run

    record = catalog.show_run(experiment.storage_of(resolved), experiment.tree_of(resolved), run_num)
    print_run(record, as_json=as_json)
