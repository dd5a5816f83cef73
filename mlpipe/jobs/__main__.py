"""The entrypoint of every job: `python -m mlpipe.jobs train` or `python -m mlpipe.jobs <step>`.

Runs one step, writes the manifest over what it produced, and leaves an error where the platform looks for it, the
class and message first: 1,024 characters of the failure file reach SageMaker's FailureReason. A training in several
processes runs this same entrypoint in each of them.
"""

from __future__ import annotations

import atexit
import contextlib
import importlib
import logging
import os
import signal
import sys
import threading
import traceback
from types import FrameType
from typing import NoReturn

import psutil

from mlpipe.contract import PARENT_VARIABLE, SOURCES_FOLDER, TRACEBACK_MARK, ContractFolders
from mlpipe.errors import JobError, JobStopped, MlpipeError, StorageError
from mlpipe.jobs.environment import job_folders, read_context, read_hosts, sagemaker_variables
from mlpipe.jobs.processes import (
    RanksFailed,
    end_with_launcher,
    is_distributed,
    is_rank,
    process_count,
    rank,
    report_file,
    run_ranks,
)
from mlpipe.jobs.secrets import fetch_secrets, named_secrets
from mlpipe.manifest import write_manifest

STEPS = {
    "reconcile": "mlpipe.jobs.reconcile",
    "prepare": "mlpipe.jobs.prepare",
    "train": "mlpipe.jobs.train",
    "infer": "mlpipe.jobs.infer",
}

EXIT_SECONDS = 10.0
"""How long a process whose work is done has for its exit: a tracker without a network would wait for minutes."""

logger = logging.getLogger(__name__)


def main(arguments: list[str]) -> int:
    """Run the step that `arguments` name; returns the exit code of its error, or 0."""
    _log_to_stdout()
    signal.signal(signal.SIGTERM, _stop)
    if is_rank():
        end_with_launcher()
    _end_with_parent()
    folders = job_folders(arguments, os.environ)
    try:
        _run(folders)
    except RanksFailed as failed:
        _write_failure(failed.report, folders)
        return failed.exit_code
    except JobStopped as stopped:
        return _report(JobError("the job was stopped before it had done its work", hint=str(stopped)), folders)
    except MlpipeError as error:
        return _report(error, folders)
    except OSError as error:
        return _report(StorageError(f"{error.strerror or error}: {error.filename or ''}"), folders, cause=error)
    except Exception as error:
        return _report(JobError(f"{type(error).__name__}: {error}"), folders, cause=error)
    return 0


def _run(folders: ContractFolders) -> None:
    # Where this is one of several processes, the one that started it has checked a moment ago.
    context = read_context(folders, os.environ, check=not is_rank())
    if context.step not in STEPS:
        raise JobError(f"unknown step {context.step!r}; expected one of {', '.join(STEPS)}")
    os.environ.update(sagemaker_variables(folders, context))
    if (sources := context.code.parent / SOURCES_FOLDER).is_dir():
        os.chdir(sources)
    if not is_rank():  # the others inherit them
        os.environ.update(fetch_secrets(named_secrets(os.environ)))
    if is_distributed(context) and not is_rank():
        hosts = read_hosts(folders)
        run_ranks(process_count(context), context.threads, hosts, folders.base / "processes")
        if hosts.index == 0:  # the output of the others stays empty: all machines of a job write to one place
            write_manifest(context.output)
        return
    importlib.import_module(STEPS[context.step]).run(context)
    if not is_rank():
        write_manifest(context.output)


def _report(error: MlpipeError, folders: ContractFolders, cause: BaseException | None = None) -> int:
    """Log the error and write the failure file; returns the exit code."""
    # Marked, since the command that started the job reports the error itself; the whole of it is in the traceback.
    logger.error("%s%s", TRACEBACK_MARK, type(error).__name__, exc_info=cause or error)
    trace = "".join(traceback.format_exception(cause or error))
    _write_failure(f"{type(error).__name__}: {error}\n\n{trace}", folders)
    return error.exit_code


def _write_failure(report: str, folders: ContractFolders) -> None:
    path = report_file() if is_rank() else folders.failure
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(report, encoding="utf-8")


class _Formatter(logging.Formatter):
    """Marks the lines of tracebacks."""

    def formatException(self, ei: logging._SysExcInfoType) -> str:  # noqa: N802 (the base class calls it so)
        return "\n".join(f"{TRACEBACK_MARK}{line}" for line in super().formatException(ei).splitlines())


def _log_to_stdout() -> None:
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(_Formatter(f"process {rank()}: %(message)s" if rank() else None))
    # All processes of a training do the same: the first one tells it.
    logging.basicConfig(level=logging.WARNING if rank() else logging.INFO, handlers=[handler])


def _stop(_signum: int, _frame: FrameType | None) -> None:
    raise JobStopped


def _end_with_parent() -> None:
    """End this process group when the process that started it is gone, even by kill -9.

    The parent holds the other end of a pipe and never writes to it; its end of file is the parent's end.
    """
    descriptor = os.environ.pop(PARENT_VARIABLE, None)
    if descriptor is None:
        return

    def watch() -> None:
        os.read(int(descriptor), 1)
        os.killpg(os.getpgrp(), signal.SIGKILL)

    threading.Thread(target=watch, daemon=True, name="parent watch").start()


def exit_with(code: int, seconds: float = EXIT_SECONDS) -> NoReturn:
    """End the process, after so many seconds even where a library's thread, exit hook or child still works or waits."""
    _limit_exit(code, seconds)
    raise SystemExit(code)


def exit_forked(code: int, seconds: float = EXIT_SECONDS) -> NoReturn:
    """End a forked process as `exit_with` does, but for what Python takes apart at its end.

    That takes a second in a process with so many libraries, and the system frees the memory anyway. Threads that are no
    daemons and work that is pending in pools are waited for, and exit hooks run after them, as multiprocessing does it
    in its forked processes. The code is this one whatever fails on the way.
    """
    _limit_exit(code, seconds)
    try:
        with contextlib.ExitStack() as ending:  # from the last to the first, each even where one before it has failed
            ending.callback(sys.stderr.flush)
            ending.callback(sys.stdout.flush)
            ending.callback(atexit._run_exitfuncs)
            ending.callback(threading._shutdown)  # type: ignore[attr-defined]
    finally:
        os._exit(code)


def _limit_exit(code: int, seconds: float) -> None:
    def end() -> None:
        for child in psutil.Process().children(recursive=True):
            with contextlib.suppress(psutil.NoSuchProcess):
                child.kill()
        os._exit(code)

    timer = threading.Timer(seconds, end)
    timer.daemon = True
    timer.start()


if __name__ == "__main__":
    exit_with(main(sys.argv[1:]))
