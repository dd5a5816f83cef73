from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
from process_tree import gone

from mlpipe.backends import JobStatus, LocalBackend, follow_job
from mlpipe.backends.local.launcher import RunningJob, SubprocessLauncher
from mlpipe.errors import DataError, JobError, UserFunctionError
from mlpipe.specs import Channel, JobKind, JobSpec
from mlpipe.storage import LocalStorage


class ScriptLauncher:
    """Starts a script in place of `python -m mlpipe.jobs`, in every other respect as the backend asks."""

    def __init__(self, script: str) -> None:
        self._script = script
        self._launcher = SubprocessLauncher()

    def launch(self, argv: Sequence[str], environment: Mapping[str, str], folder: Path, log: Path) -> RunningJob:
        assert argv[1:4] == ["-P", "-m", "mlpipe.jobs"]
        return self._launcher.launch([sys.executable, "-c", self._script, *argv[4:]], environment, folder, log)


class Recorder:
    """A JobListener that keeps what it is told."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.statuses: list[JobStatus] = []
        self.events: list[str] = []

    def started(self, spec: JobSpec, log: str) -> None:
        self.log = log
        self.events.append("started")

    def line(self, spec: JobSpec, text: str) -> None:
        self.lines.append(text)

    def ended(self, spec: JobSpec, status: JobStatus, seconds: float) -> None:
        self.statuses.append(status)
        self.events.append("ended")


@pytest.fixture
def storage(tmp_path: Path) -> LocalStorage:
    storage = LocalStorage(tmp_path / "storage")
    storage.write("data/train/rows", b"rows")
    return storage


def spec(kind: JobKind = JobKind.TRAINING, max_runtime_s: int = 60) -> JobSpec:
    return JobSpec(
        name="train-m",
        kind=kind,
        step="train" if kind is JobKind.TRAINING else "infer",
        attempt="runs/1/attempts/a",
        channels=(Channel("train", "data/train"),),
        arguments={},
        hyperparameters={"LEARNING_RATE": 1e-5, "EPOCHS": 3, "NOTE": "it's $(id)"},
        threads=2,
        max_runtime_s=max_runtime_s,
        log="runs/1/logs/train-m.log",
    )


def run(storage: LocalStorage, script: str, job: JobSpec | None = None) -> tuple[str, Recorder]:
    recorder = Recorder()
    job = job or spec()
    backend = LocalBackend(storage, Path.cwd(), launcher=ScriptLauncher(script))
    result = follow_job(backend, job, backend.submit(job), storage.locate(job.log), recorder)
    return result.output, recorder


DUMP = """
import json, os, pathlib, sys
base = pathlib.Path(os.environ["SAGEMAKER_BASE_DIR"])
found = {str(p.relative_to(base)): p.read_text() for p in base.rglob("*.json")}
found["rows"] = (base / sys.argv[2] / "train" / "rows").read_text()
found["arguments"] = sys.argv[1:2]
found["threads"] = os.environ["OMP_NUM_THREADS"]
found["mlpipe variables"] = [name for name in os.environ if name.startswith("MLPIPE_") and name != "MLPIPE_PARENT_FD"]
(base / sys.argv[3] / "found.json").write_text(json.dumps(found))
"""


def dump(inputs: str, output: str) -> str:
    return DUMP.replace("sys.argv[2]", repr(inputs)).replace("sys.argv[3]", repr(output))


def test_a_training_job_finds_the_platforms_contract(storage: LocalStorage, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("MLPIPE_EXPERIMENT__SEED", "1")
    output, _ = run(storage, dump("input/data", "model"))
    found = json.loads(storage.read(f"{output}/found.json"))
    assert found["arguments"] == ["train"]
    assert found["rows"] == "rows"
    assert found["threads"] == "2"
    assert found["mlpipe variables"] == []
    assert json.loads(found["input/config/hyperparameters.json"]) == {
        "LEARNING_RATE": "1e-05",
        "EPOCHS": "3",
        "NOTE": "it's $(id)",
    }
    assert list(json.loads(found["input/config/inputdataconfig.json"])) == ["train"]
    assert json.loads(found["input/config/resourceconfig.json"])["hosts"] == ["algo-1"]


def test_a_processing_job_finds_the_platforms_contract(storage: LocalStorage):
    output, _ = run(storage, dump("processing/input", "processing/output/result"), spec(JobKind.PROCESSING))
    found = json.loads(storage.read(f"{output}/found.json"))
    assert found["arguments"] == ["infer"]
    assert json.loads(found["config/processingjobconfig.json"])["ProcessingJobName"] == "train-m"


MEET = """
import os, pathlib, time
name = pathlib.Path(os.environ["SAGEMAKER_BASE_DIR"]).name
met = pathlib.Path({folder!r})
(met / name).touch()
while len(list(met.iterdir())) < {jobs}:
    time.sleep(0.01)
print("gpus", os.environ.get("CUDA_VISIBLE_DEVICES"), flush=True)
"""


def run_together(storage: LocalStorage, script: str, jobs: Sequence[str], slots: int) -> list[Recorder]:
    backend = LocalBackend(storage, Path.cwd(), slots, ScriptLauncher(script))
    recorders = [Recorder() for _ in jobs]

    def one(name: str, recorder: Recorder) -> None:
        job = replace(spec(), name=name, attempt=f"runs/1/attempts/{name}", log=f"runs/1/logs/{name}.log")
        follow_job(backend, job, backend.submit(job), job.log, recorder)

    with ThreadPoolExecutor(len(jobs)) as pool:
        list(pool.map(one, jobs, recorders))
    return recorders


def test_as_many_jobs_run_side_by_side_as_there_are_slots(storage: LocalStorage, tmp_path: Path, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "5,7")
    (tmp_path / "met").mkdir()
    script = MEET.format(folder=str(tmp_path / "met"), jobs=2)
    recorders = run_together(storage, script, ["a", "b"], slots=2)
    assert sorted(recorder.lines[0] for recorder in recorders) == ["gpus 5", "gpus 7"]


def test_a_job_waits_for_its_slot_and_is_started_only_then(storage: LocalStorage, tmp_path: Path):
    script = f"""
import pathlib, time
running = pathlib.Path({str(tmp_path / "running")!r})
running.touch(exist_ok=False)
time.sleep(0.3)
running.unlink()
"""
    recorders = run_together(storage, script, ["a", "b", "c"], slots=1)
    assert [recorder.events for recorder in recorders] == [["started", "ended"]] * 3


def test_a_training_job_finds_what_an_earlier_attempt_left_among_its_checkpoints(storage: LocalStorage):
    script = """
import os, pathlib
folder = pathlib.Path(os.environ["SAGEMAKER_BASE_DIR"]) / "checkpoints"
print("found", sorted(path.name for path in folder.iterdir()))
(folder / "step-1").mkdir(exist_ok=True)
"""
    for attempt, found in (("a", "found []"), ("b", "found ['step-1']")):
        job = replace(spec(), attempt=f"runs/1/attempts/{attempt}", log=f"runs/1/logs/{attempt}.log")
        job = replace(job, checkpoints="runs/1/checkpoints/m")
        assert run(storage, script, job)[1].lines == [found]
        storage.delete(job.attempt)
    assert storage.folders("runs/1/checkpoints/m") == ["step-1"]


def test_what_a_training_job_leaves_beside_its_model_is_kept_where_the_job_was_told(storage: LocalStorage):
    script = """
import os, pathlib
(pathlib.Path(os.environ["SAGEMAKER_BASE_DIR"]) / "output" / "data" / "events").write_text("of this attempt")
"""
    output, _ = run(storage, script, replace(spec(), output_data="runs/1/logs/output_data/m"))
    assert storage.read("runs/1/logs/output_data/m/events") == b"of this attempt"
    assert list(storage.files(output)) == []


def test_every_line_reaches_the_listener_and_the_log(storage: LocalStorage):
    _, recorder = run(storage, "print('one'); import sys; print('two', file=sys.stderr); print('umlaut ü')")
    assert sorted(recorder.lines) == ["one", "two", "umlaut ü"]
    assert sorted(storage.read("runs/1/logs/train-m.log").decode().splitlines()) == sorted(recorder.lines)


FAIL = """
import os, pathlib
failure = pathlib.Path(os.environ["SAGEMAKER_BASE_DIR"]) / "output" / "failure"
failure.parent.mkdir(exist_ok=True)
failure.write_text(%r)
raise SystemExit(3)
"""


def test_the_error_that_a_job_reports_is_raised_with_its_class_hint_and_log(storage: LocalStorage):
    text = "DataError: row 7 has no label\n  give it one\n\nTraceback ..."
    with pytest.raises(DataError) as caught:
        run(storage, FAIL % text)
    assert caught.value.message == "job train-m: row 7 has no label"
    assert caught.value.hint == f"give it one\n  log: {storage.locate('runs/1/logs/train-m.log')}"
    assert caught.value.exit_code == 3


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        ("raise SystemExit(7)", "exited with code 7"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", "killed"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", "SIGSEGV"),
    ],
)
def test_a_job_that_left_no_reason_is_an_error_that_says_how_it_ended(storage: LocalStorage, script: str, reason: str):
    with pytest.raises(JobError, match=rf"job train-m: .*{reason}[\s\S]*train-m\.log"):
        run(storage, script)


CHILD = (
    "import subprocess, sys, time; p = subprocess.Popen(['sleep', '600']); print(p.pid, flush=True); time.sleep(600)"
)


def test_a_job_beyond_its_time_limit_is_ended_with_all_that_it_started(storage: LocalStorage):
    recorder = Recorder()
    job = spec(max_runtime_s=1)
    backend = LocalBackend(storage, Path.cwd(), launcher=ScriptLauncher(CHILD))
    with pytest.raises(JobError, match="longer than .* MAX_RUNTIME = 1 seconds"):
        follow_job(backend, job, backend.submit(job), "log", recorder)
    assert gone(int(recorder.lines[0]))


TAKES_SIGTERM = """
import os, pathlib, signal, time
def stop(number, frame):
    failure = pathlib.Path(os.environ["SAGEMAKER_BASE_DIR"]) / "output" / "failure"
    failure.parent.mkdir()
    failure.write_text(%r)
    raise SystemExit(1)
signal.signal(signal.SIGTERM, stop)
time.sleep(600)
"""


def test_a_job_that_is_ended_for_its_time_limit_is_told_about_the_limit(storage: LocalStorage):
    with pytest.raises(JobError, match=r"longer than .* MAX_RUNTIME = 1 seconds"):
        run(storage, TAKES_SIGTERM % "JobError: the job was stopped", spec(max_runtime_s=1))


def test_a_user_function_that_hung_is_named_when_the_limit_ends_it(storage: LocalStorage):
    with pytest.raises(UserFunctionError, match=r"encode\(\) was still running"):
        run(storage, TAKES_SIGTERM % "UserFunctionError: encode() was still running", spec(max_runtime_s=1))


def test_interrupting_the_wait_ends_the_job_with_all_that_it_started(storage: LocalStorage):
    class Interrupting(Recorder):
        def line(self, spec: JobSpec, text: str) -> None:
            super().line(spec, text)
            raise KeyboardInterrupt

    recorder = Interrupting()
    backend = LocalBackend(storage, Path.cwd(), launcher=ScriptLauncher(CHILD))
    handle = backend.submit(spec())
    with pytest.raises(KeyboardInterrupt):
        follow_job(backend, spec(), handle, "log", recorder)
    assert gone(int(recorder.lines[0]))


PARENT = """
import os, sys, time
from pathlib import Path
from mlpipe.backends.local.launcher import SubprocessLauncher
child = "from mlpipe.jobs.__main__ import _end_with_parent as watch; watch(); " + sys.argv[1]
SubprocessLauncher().launch([sys.executable, "-c", child], dict(os.environ), Path.cwd(), Path(sys.argv[2]))
time.sleep(600)
"""


def test_children_die_with_a_parent_that_is_killed(tmp_path: Path):
    log = tmp_path / "log"
    parent = psutil.Popen([sys.executable, "-c", PARENT, CHILD, str(log)])
    while not (log.is_file() and log.read_text().endswith("\n")):
        assert parent.poll() is None
        time.sleep(0.05)
    children = [*parent.children(recursive=True)]
    assert len(children) == 2
    os.kill(parent.pid, signal.SIGKILL)
    parent.wait()
    assert all(gone(child.pid) for child in children)


def test_user_errors_keep_their_class(storage: LocalStorage):
    with pytest.raises(UserFunctionError, match=r"job train-m: encode\(\) failed at user_functions/encode.py:3"):
        run(storage, FAIL % "UserFunctionError: encode() failed at user_functions/encode.py:3: KeyError: 'text'")


class BrokenOnce(ScriptLauncher):
    """Cannot start the first job."""

    is_broken = True

    def launch(self, argv: Sequence[str], environment: Mapping[str, str], folder: Path, log: Path) -> RunningJob:
        if self.is_broken:
            self.is_broken = False
            raise JobError("cannot start it")
        return super().launch(argv, environment, folder, log)


def test_a_job_that_cannot_be_started_leaves_its_slot_to_the_next(storage: LocalStorage):
    backend = LocalBackend(storage, Path.cwd(), launcher=BrokenOnce("print('here')"))
    with pytest.raises(JobError, match="cannot start it"):
        follow_job(backend, spec(), backend.submit(spec()), "log", Recorder())
    recorder = Recorder()
    again = replace(spec(), attempt="runs/1/attempts/b")
    follow_job(backend, again, backend.submit(again), "log", recorder)
    assert recorder.lines == ["here"]


def test_a_job_that_waits_when_all_are_stopped_ends_as_not_started(storage: LocalStorage):
    backend = LocalBackend(storage, Path.cwd(), launcher=ScriptLauncher("import time; time.sleep(600)"))
    backend.submit(spec())
    waiting = backend.submit(replace(spec(), attempt="runs/1/attempts/b", log="runs/1/logs/b.log"))
    assert str(backend.describe(waiting).state) == "Waiting"
    assert backend.leave_all() == "every job was ended"
    assert "it was not started any more" in backend.describe(waiting).failure
