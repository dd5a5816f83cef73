"""`mlpipe logs`: what the jobs of a run print."""

from __future__ import annotations

from typing import Annotated

import typer

from mlpipe.cli.arguments import DEFAULT_SETTINGS, Overrides, RunNumber, SettingsFile, read_settings
from mlpipe.errors import UsageError

Follow = Annotated[bool, typer.Option("--follow", "-f", help="Go on until nobody works on the run any more.")]
Job = Annotated[str | None, typer.Option("--job", metavar="NAME", help="Only this job, such as train-minilm.")]


def logs(
    run_num: RunNumber,
    settings: SettingsFile = DEFAULT_SETTINGS,
    overrides: Overrides = None,
    follow: Follow = False,
    job: Job = None,
) -> None:
    """Print the logs of a run's jobs, each line with the name of its job.

    A trial is part of the job that tunes; in SageMaker, its log is there when a command has seen it end.
    """
    resolved = read_settings(settings, overrides)
    from mlpipe import attendance, experiment  # kept out of --help and of settings errors

    storage, backend, run = experiment.find(resolved, run_num)
    names = attendance.job_names(storage, run)
    if job not in (None, *names) and not follow:  # what is followed may be still to come
        raise UsageError(
            f"run {run_num} has no log of a job {job}",
            hint=f"it has those of {', '.join(sorted(names))}" if names else "it has none yet",
        )
    for name, line in attendance.log_lines(storage, backend, run, follow=follow):
        if job in (None, name):
            typer.echo(f"{name}: {line}")
