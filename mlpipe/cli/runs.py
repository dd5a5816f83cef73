"""`mlpipe runs`: the runs of an experiment."""

from __future__ import annotations

from mlpipe.cli.arguments import DEFAULT_SETTINGS, AsJson, Overrides, SettingsFile, read_settings


def runs(settings: SettingsFile = DEFAULT_SETTINGS, overrides: Overrides = None, as_json: AsJson = False) -> None:
    """List the runs of the experiment, the oldest first.

    A run is committed (complete, and never changed again), trained (not tested yet), partial (some models failed),
    failed, interrupted, running, detached (its jobs go on, and `mlpipe resume N` takes them up), or abandoned: its
    process is gone, and the same command goes on with it.
    """
    resolved = read_settings(settings, overrides)
    from mlpipe import catalog, experiment  # kept out of --help and of settings errors
    from mlpipe.cli.console import print_runs

    tree = experiment.tree_of(resolved)
    print_runs(catalog.list_runs(experiment.storage_of(resolved), tree), tree.name, as_json=as_json)
