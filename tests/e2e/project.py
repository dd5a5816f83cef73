"""A user's folder for the end-to-end tests, and the command line as a user calls it."""

from __future__ import annotations

import csv
import hashlib
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

SETTINGS = """\
[EXPERIMENT]
EXPERIMENT_NAME = tiny
MODEL_NAMES = small, large
USER_FUNCTIONS = functions.py
SEED = 7

[DATA]
SOURCES = texts.csv
TEXT_COLUMN = text

[TRAINING]
THREADS = 1

[HYPERPARAMETERS]
EPOCHS = 2
LEARNING_RATE = 0.05

[USER]
CSV = texts.csv

[USER_HYPERPARAMETERS]
WIDTH = 8

[USER_HYPERPARAMETERS.large]
WIDTH = 16
"""

WORDS = {
    "fruit": ["apple", "apricot", "avocado", "banana"],
    "metal": ["iron", "zinc", "tin", "nickel"],
    "river": ["rhine", "danube", "oder", "weser"],
}


@dataclass(frozen=True)
class Project:
    """A user's folder; `mlpipe(...)` runs a command in it."""

    folder: Path

    @property
    def tree(self) -> Path:
        return self.folder / "storage" / "tiny"

    @property
    def run(self) -> Path:
        return self.tree / "runs" / "1"

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "mlpipe", *arguments]
        return subprocess.Popen(
            command, cwd=self.folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=dict(os.environ)
        )

    def mlpipe(self, *arguments: str, code: int = 0) -> subprocess.CompletedProcess[str]:
        """Run a command and check its exit code; without --debug no traceback may be printed by the command itself."""
        process = self.start(*arguments)
        stdout, stderr = process.communicate()
        assert process.returncode == code, f"exit code {process.returncode}\n{stdout}\n{stderr}"
        return subprocess.CompletedProcess(arguments, process.returncode, stdout, stderr)

    def edit(self, name: str, old: str, new: str) -> None:
        text = (self.folder / name).read_text()
        assert old in text
        (self.folder / name).write_text(text.replace(old, new))

    def interrupt_when(self, process: subprocess.Popen[str], happened: Callable[[], bool]) -> None:
        """Send SIGINT to a command once something is seen to have happened."""
        while not happened():
            assert process.poll() is None
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)


def make_project(folder: Path) -> Project:
    """Settings, functions, and 240 short texts of three classes."""
    folder.mkdir(parents=True)
    (folder / "settings.ini").write_text(SETTINGS)
    shutil.copyfile(Path(__file__).with_name("tiny_functions.py"), folder / "functions.py")
    generator = random.Random(3)
    rows = {
        (" ".join(generator.choices(words, k=generator.randint(2, 9))), label)
        for label, words in WORDS.items()
        for _ in range(100)
    }
    with (folder / "texts.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("text", "label"), *sorted(rows)])
    return Project(folder)


def hashes(folder: Path) -> dict[str, str]:
    """The sha256 of every file below a folder."""
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def lines_of(process: subprocess.Popen[str], text: str) -> None:
    """Read a command's stderr up to a line with this text."""
    assert process.stderr
    for line in process.stderr:
        if text in line:
            return
    raise AssertionError(f"the command ended without {text!r}")


def error_of(done: subprocess.CompletedProcess[str]) -> str:
    """The one error message, which is the last thing on stderr; no traceback is shown to a user who did not ask."""
    assert "Traceback" not in done.stderr
    _, found, message = ("\n" + done.stderr).rpartition("\nerror: ")
    assert found
    return message


Finished = tuple[Project, "subprocess.CompletedProcess[str]"]
"""A folder in which `mlpipe run` has made run 1, and what that printed."""
