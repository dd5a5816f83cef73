"""`mlpipe run`: the whole experiment."""

from __future__ import annotations

from typing import Annotated

import typer

from mlpipe.cli.arguments import DEFAULT_SETTINGS, New, Overrides, SettingsFile, read_settings
from mlpipe.errors import UsageError

DryRun = Annotated[bool, typer.Option("--dry-run", help="Print the plan: what would run, and why; nothing is started.")]
PlanAsJson = Annotated[bool, typer.Option("--json", help="Print the plan of --dry-run as JSON, with every request.")]

Offline = Annotated[
    bool, typer.Option("--offline", help="Plan without a network: an empty storage, placeholders for the account.")
]
Detach = Annotated[
    bool, typer.Option("--detach", help="Start the trainings and leave them to SageMaker; `mlpipe resume` goes on.")
]


def run(
    context: typer.Context,
    settings: SettingsFile = DEFAULT_SETTINGS,
    overrides: Overrides = None,
    new: New = False,
    dry_run: DryRun = False,
    offline: Offline = False,
    detach: Detach = False,
    as_json: PlanAsJson = False,
) -> None:
    """Reconcile, prepare, train, infer and report; resumes an interrupted run of the same settings."""
    if as_json and not dry_run:
        raise UsageError("--json prints the plan of --dry-run", hint="`mlpipe show --json` prints a finished run")
    if offline and not dry_run:
        raise UsageError("--offline is for --dry-run", hint="a run needs its storage")
    resolved = read_settings(settings, overrides)
    from mlpipe import experiment  # kept out of --help and of settings errors
    from mlpipe.cli.console import console_listener, print_plan, print_started, print_summary

    if dry_run:
        print_plan(experiment.plan(resolved, new=new, is_offline=offline), as_json=as_json)
        return
    if detach:
        with console_listener(context) as listener:
            started = experiment.start(resolved, listener, new=new)
        print_started(started)
        return
    with console_listener(context) as listener:
        summary = experiment.run(resolved, listener, new=new)
    print_summary(summary)
    if error := summary.failure():
        raise error
