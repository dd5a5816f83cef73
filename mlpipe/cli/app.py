"""The Typer application, and the one place where an error becomes a message and an exit code."""

from __future__ import annotations

import sys
import traceback
from typing import Annotated

import typer

from mlpipe import __version__
from mlpipe.cli.compare import compare
from mlpipe.cli.infer import infer
from mlpipe.cli.logs import logs
from mlpipe.cli.prepare import prepare
from mlpipe.cli.promote import promote
from mlpipe.cli.reconcile import reconcile
from mlpipe.cli.report import report
from mlpipe.cli.resume import resume
from mlpipe.cli.run import run
from mlpipe.cli.runs import runs
from mlpipe.cli.show import show
from mlpipe.cli.stop import stop
from mlpipe.cli.train import train
from mlpipe.cli.tune import tune
from mlpipe.cli.worker import worker
from mlpipe.errors import MlpipeError, StorageError

app = typer.Typer(
    name="mlpipe",
    help="From a settings file and five functions to a complete, reproducible, measured classification experiment.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(value: bool) -> None:
    if value:
        typer.echo(f"mlpipe {__version__}")
        raise typer.Exit


@app.callback()
def options(
    context: typer.Context,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
    _version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Options before the command."""
    context.obj = debug


COMMANDS = (
    run, reconcile, prepare, train, tune, infer, compare, resume, runs, show, report, logs, stop, promote, worker
)  # fmt: skip

for command in COMMANDS:
    app.command()(command)


def main(arguments: list[str] | None = None) -> None:
    """Run the command line and exit with its code.

    0 ok, 1 the run failed, 2 settings or usage, 3 a user function, 4 storage or cloud, 5 part of the run, 130
    interrupted.
    """
    arguments = sys.argv[1:] if arguments is None else arguments
    try:
        app(args=arguments)
    except MlpipeError as error:
        sys.exit(_report(error, debug="--debug" in arguments))
    except OSError as error:
        problem = StorageError(f"{error.strerror or error}: {error.filename or ''}".rstrip(": "))
        sys.exit(_report(problem, cause=error, debug="--debug" in arguments))
    except Exception as error:
        hint = "this is a defect of mlpipe; --debug before the command shows the traceback"
        defect = MlpipeError(f"{type(error).__name__}: {error}", hint=hint)
        sys.exit(_report(defect, cause=error, debug="--debug" in arguments))


def _report(error: MlpipeError, *, debug: bool, cause: Exception | None = None) -> int:
    if debug:
        traceback.print_exception(cause or error)
    typer.echo(f"error: {error}", err=True)
    return error.exit_code
