"""Jobs forked from a process that has imported their libraries: the same in every other respect."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
from job_folder import processing_folder
from process_tree import gone

from mlpipe.backends.local import forkserver
from mlpipe.backends.local.forkserver import ForkserverLauncher
from mlpipe.backends.local.launcher import RunningJob, end
from mlpipe.errors import JobError

HANGS = """
import os, subprocess, time

def reconcile(settings):
    child = subprocess.Popen(["sleep", "600"])
    print("started", os.getpid(), child.pid, os.environ.get("CANARY"), os.getcwd(), flush=True)
    time.sleep(600)
"""


def wait_for(happened: Callable[[], bool]) -> None:
    while not happened():
        time.sleep(0.02)


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., tuple[RunningJob, Path]]]:
    """Start a reconcile job with this reconcile() in it; returns it with its log."""
    launcher = ForkserverLauncher(worth_it=("reconcile",))
    count = iter(range(100))

    def launch(code: str | None = None) -> tuple[RunningJob, Path]:
        name = f"job-{next(count)}"
        base = processing_folder(tmp_path / name)
        if code is not None:
            functions = base / "processing" / "input" / "job" / "user_functions"
            (module,) = functions.rglob("*.py")
            module.write_text(module.read_text() + code)
        log = tmp_path / f"{name}.log"
        environment = {**os.environ, "SAGEMAKER_BASE_DIR": str(base), "CANARY": name}
        arguments = [sys.executable, "-P", "-m", "mlpipe.jobs", "reconcile"]
        return launcher.launch(arguments, environment, tmp_path, log), log

    yield launch
    launcher.close()


def started(log: Path) -> list[str]:
    """What a job that hangs has printed of itself."""
    wait_for(lambda: log.exists() and "started" in log.read_text())
    line = next(line for line in log.read_text().splitlines() if line.startswith("started"))
    return line.split()[1:]


def test_jobs_have_their_own_session_environment_folder_and_log(start, tmp_path: Path):
    one, first = start(HANGS)
    two, second = start(HANGS)
    pid, _, canary, folder = started(first)
    other, _, other_canary, _ = started(second)
    assert (canary, other_canary, folder) == ("job-0", "job-1", str(tmp_path))
    assert os.getsid(int(pid)) == int(pid) != os.getsid(int(other))
    end(one, 5.0)
    assert two.poll() is None
    end(two, 5.0)


def test_a_job_that_does_its_work_ends_with_0_and_one_that_cannot_with_its_code(start):
    done, log = start()
    wait_for(lambda: done.poll() is not None)
    assert done.poll() == 0, log.read_text()
    assert "reconciled" in log.read_text()
    failed, log = start("\ndef reconcile(settings):\n    raise KeyError('text')\n")
    wait_for(lambda: failed.poll() is not None)
    assert failed.poll() == 3
    assert "KeyError" in log.read_text()


def test_exit_hooks_of_a_job_run_and_what_it_has_printed_arrives(start):
    done, log = start("\nimport atexit\natexit.register(print, 'good', 'bye')\n")
    wait_for(lambda: done.poll() is not None)
    assert done.poll() == 0
    assert "good bye" in log.read_text().splitlines()


def test_a_job_that_is_ended_takes_with_it_what_it_started(start):
    job, log = start(HANGS)
    pid, child, *_ = started(log)
    job.kill()
    assert job.poll() == -signal.SIGKILL
    assert gone(int(pid))
    assert gone(int(child))


PARENT = """
import os, sys, time
from pathlib import Path
from mlpipe.backends.local.forkserver import ForkserverLauncher
launcher = ForkserverLauncher(("reconcile",))
command = [sys.executable, "-P", "-m", "mlpipe.jobs", "reconcile"]
launcher.launch(command, dict(os.environ), Path.cwd(), Path(sys.argv[1]))
time.sleep(600)
"""


def test_server_and_jobs_die_with_a_parent_that_is_killed(tmp_path: Path):
    base = processing_folder(tmp_path / "job")
    (module,) = (base / "processing" / "input" / "job" / "user_functions").rglob("*.py")
    module.write_text(module.read_text() + HANGS)
    environment = {**os.environ, "SAGEMAKER_BASE_DIR": str(base)}
    log = tmp_path / "log"
    parent = subprocess.Popen([sys.executable, "-c", PARENT, str(log)], env=environment)
    pid, child, *_ = started(log)
    (server,) = psutil.Process(parent.pid).children()
    parent.kill()
    parent.wait()
    assert gone(server.pid)
    assert gone(int(pid))
    assert gone(int(child))


def test_a_server_that_cannot_start_is_an_error_that_says_why(start, monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setattr(forkserver, "SERVER", "mlpipe.jobs.no_such_server")
    job, _ = start()

    with pytest.raises(JobError, match="has ended: .*No module named mlpipe.jobs.no_such_server"):
        wait_for(lambda: job.poll() is not None)


def test_a_step_that_imports_little_gets_an_interpreter_of_its_own(tmp_path: Path):
    base = processing_folder(tmp_path / "job")
    (module,) = (base / "processing" / "input" / "job" / "user_functions").rglob("*.py")
    parent = "\nimport os\n\ndef reconcile(settings):\n    raise KeyError(f'parent {os.getppid()}')\n"
    module.write_text(module.read_text() + parent)
    environment = {**os.environ, "SAGEMAKER_BASE_DIR": str(base)}
    command = [sys.executable, "-P", "-m", "mlpipe.jobs", "reconcile"]
    job = ForkserverLauncher().launch(command, environment, tmp_path, tmp_path / "log")
    wait_for(lambda: job.poll() is not None)
    assert f"parent {os.getpid()}" in (tmp_path / "log").read_text()
