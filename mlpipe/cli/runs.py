"""`mlpipe runs`: the runs of an experiment."""

from __future__ import annotations

from mlpipe.cli.arguments import DEFAULT_SETTINGS, AsJson, Overrides, SettingsFile, read_settings


def runs(settings: SettingsFile = DEFAULT_SETTINGS, overrides: Overrides = None, as_json: AsJson = False) -> None:
    """List the runs of the experiment, the oldest first."""
    resolved = read_settings(settings, overrides)
    from mlpipe import catalog, experiment  # kept out of --help and of settings errors
    from mlpipe.cli.console import print_runs

    tree = experiment.tree_of(resolved)
    print_runs(catalog.list_runs(experiment.storage_of(resolved), tree), tree.name, as_json=as_json)
