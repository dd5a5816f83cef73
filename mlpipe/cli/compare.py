"""`mlpipe compare`: models side by side on the same rows."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mlpipe.cli.arguments import DEFAULT_SETTINGS, AsJson, New, Overrides, read_settings
from mlpipe.errors import UsageError

What = Annotated[
    list[str] | None,
    typer.Argument(metavar="[SETTINGS | RUN_NUM...]", help="A settings file to run, or the numbers of finished runs."),
]
Settings = Annotated[Path, typer.Option("--settings", metavar="PATH", help="The settings file, beside run numbers.")]


def compare(
    context: typer.Context,
    what: What = None,
    settings: Settings = DEFAULT_SETTINGS,
    overrides: Overrides = None,
    new: New = False,
    as_json: AsJson = False,
) -> None:
    """Run every one of MODEL_NAMES on the same rows and compare them; or compare the models of finished runs."""
    numbers = [int(text) for text in what or () if text.isdecimal()]
    if len(numbers) not in (0, len(what or ())) or (not numbers and len(what or ()) > 1):
        raise UsageError(f"expected one settings file or the numbers of runs, not {' '.join(what or ())}")
    resolved = read_settings(settings if numbers or not what else Path(what[0]), overrides)
    from mlpipe import comparing, experiment  # kept out of --help and of settings errors
    from mlpipe.cli.comparison import print_comparison, print_run_comparison
    from mlpipe.cli.console import console_listener

    if numbers:
        found = comparing.compare_runs(experiment.storage_of(resolved), experiment.tree_of(resolved), numbers)
        print_run_comparison(found, as_json=as_json)
        return
    with console_listener(context) as listener:
        summary = experiment.run(resolved, listener, new=new)
    print_comparison(summary, as_json=as_json)
    if error := summary.failure():
        raise error
