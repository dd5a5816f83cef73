"""One training in several processes: torchrun starts the same entrypoint in each, and their end is told as one.

The processes of a machine each leave what they report in a file of their own; what the first of them to fail said is
what the job says.
"""

from __future__ import annotations

import logging
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mlpipe.errors import MlpipeError, error_classes
from mlpipe.jobs.environment import Hosts, JobContext

REPORTS_VARIABLE = "MLPIPE_RANK_REPORTS"
"""The folder that the processes of a training leave their reports in; set in them alone."""

PORT = 29500
"""Where the first machine is met by the others: the port that torchrun takes by itself."""

STOP_SECONDS = 100
"""How long the processes have, after SIGTERM, to write a checkpoint: a platform that stops a job kills it after 120."""

MEETING_SECONDS = 900
"""How long the machines of a job wait for each other."""

WATCH_SECONDS = 0.1


class RanksFailed(Exception):
    """The processes ended without the model; `report` is what belongs into the failure file."""

    def __init__(self, report: str) -> None:
        super().__init__(report)
        self.report = report

    @property
    def exit_code(self) -> int:
        """The exit code of the error that the report begins with."""
        return error_classes().get(self.report.partition(":")[0], MlpipeError).exit_code


def is_rank() -> bool:
    """Whether this process is one of several that train a model."""
    return REPORTS_VARIABLE in os.environ


def rank() -> int:
    """The number of this process among those of its training; 0 where it is the only one."""
    return int(os.environ["RANK"]) if is_rank() else 0


def local_process_count() -> int:
    """How many processes of this training share this machine."""
    return int(os.environ["LOCAL_WORLD_SIZE"]) if is_rank() else 1


def report_file() -> Path:
    """Where this process, being one of several, leaves the report of its failure."""
    return Path(os.environ[REPORTS_VARIABLE], str(rank()))


def is_distributed(context: JobContext) -> bool:
    """Whether a job's work is to be done by several processes."""
    return context.step == "train" and context.settings.training.use_distributed


def process_count(context: JobContext) -> int:
    """How many processes of a distributed training run on this machine."""
    import torch  # not for jobs that have no use for it

    return context.settings.training.processes or max(1, torch.cuda.device_count())


def run_ranks(processes: int, threads: int, hosts: Hosts, folder: Path) -> None:
    """Run this entrypoint in so many processes of this machine, which share `threads`, and wait for their end.

    `folder` is for what they leave each other. Raises RanksFailed where one of them fails, and where SIGTERM ends them;
    all have ended then.
    """
    from torch.distributed.elastic.multiprocessing.api import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import elastic_launch

    logging.getLogger("torch.distributed").setLevel(logging.CRITICAL)  # what they report is told once, here
    reports, count = folder / "reports", processes * len(hosts.names)
    reports.mkdir(parents=True)
    with _signals_restored():
        os.environ |= {REPORTS_VARIABLE: str(reports), "OMP_NUM_THREADS": str(max(1, threads // processes))}
        if hosts.interface in (name for _, name in socket.if_nameindex()):
            os.environ |= {"GLOO_SOCKET_IFNAME": hosts.interface, "NCCL_SOCKET_IFNAME": hosts.interface}
        try:
            elastic_launch(_configuration(processes, hosts, folder), sys.executable)("-P", "-m", "mlpipe.jobs", "train")
        except ChildFailedError as error:
            codes = {number: failure.exitcode for number, failure in error.failures.items()}
            raise RanksFailed(_first_report(reports, codes, count)) from error
        except SignalException as error:
            raise RanksFailed(_first_report(reports, {}, count)) from error
        finally:
            del os.environ[REPORTS_VARIABLE]


def _configuration(processes: int, hosts: Hosts, folder: Path) -> Any:
    from torch.distributed.elastic.multiprocessing import DefaultLogsSpecs
    from torch.distributed.launcher.api import LaunchConfig

    alone = len(hosts.names) == 1
    return LaunchConfig(
        min_nodes=len(hosts.names),
        max_nodes=len(hosts.names),
        nproc_per_node=processes,
        run_id="mlpipe",
        logs_specs=DefaultLogsSpecs(log_dir=str(folder / "torchrun")),
        rdzv_backend="c10d" if alone else "static",
        # Alone: whatever port is free.
        rdzv_endpoint="127.0.0.1:0" if alone else f"{hosts.names[0]}:{PORT}",
        rdzv_configs={"timeout": MEETING_SECONDS} | ({} if alone else {"rank": hosts.index}),
        local_addr="127.0.0.1" if alone else hosts.names[hosts.index],
        max_restarts=0,
        shutdown_timeout=STOP_SECONDS,
    )


def _first_report(reports: Path, codes: dict[int, int], count: int) -> str:
    """What the failure file says: the report of the first process to fail, by its number.

    One that a signal killed left none, and was the first: what the others then report comes of its end.
    """
    killed = [number for number, code in codes.items() if code < 0 and code != -signal.SIGTERM]
    if killed:
        name = signal.Signals(-codes[killed[0]]).name
        why = ", as the system does when memory runs out" if name == "SIGKILL" else ""
        return f"JobError: process {killed[0]} of {count} was killed ({name}){why}\n\n"
    by_age = sorted(reports.iterdir(), key=lambda path: path.stat().st_mtime_ns)
    if not by_age:
        return "JobError: the job was stopped before it had done its work\n\n"
    name, _, rest = by_age[0].read_text(encoding="utf-8").partition(": ")
    return f"{name}: process {by_age[0].name} of {count}: {rest}"


@contextmanager
def _signals_restored() -> Iterator[None]:
    """torchrun takes over the signals of this process, and never gives them back."""
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def end_with_launcher() -> None:
    """End this process and what it started when the process that torchrun runs in is gone, even by kill -9.

    torchrun gives each process a session of its own, where nothing that is sent to the job arrives, and no pipe of its
    parent.
    """
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(WATCH_SECONDS)
        os.killpg(os.getpgrp(), signal.SIGKILL)

    threading.Thread(target=watch, daemon=True, name="launcher watch").start()
