"""The document example: PDFs from a queue, on a server that plays S3 and SQS."""

from __future__ import annotations

import csv
import io
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLE = Path(__file__).parents[2] / "examples" / "document_intelligence"

SLOW_SERVICE = """
import os, time
from pathlib import Path
from service import Documents
from tasks import CreateCSVOutput

class Waits(CreateCSVOutput):
    def execute(self, pipeline):
        Path(f"at-work-{os.getpid()}").touch()
        while Path("slow").exists():
            time.sleep(0.01)
        return super().execute(pipeline)

class Slow(Documents):
    def tasks(self):
        tasks = list(super().tasks())
        return [*tasks[:-1], Waits(more=tasks[-1]._more)]
"""

KILLED = """
import os, subprocess, sys, time
from pathlib import Path
import run
from pdfs import make_documents

run.train_classifier()
with run.cloud():
    url = run.send(make_documents()[:1])
    environment = {run.MODEL_VARIABLE: str(run.MODEL), **os.environ}
    options = ["slow_service:Slow", "--queue", url, "--threads", "1", "--visibility", "2"]
    Path("slow").touch()
    killed = subprocess.Popen([sys.executable, "-m", "mlpipe", "worker", *options], env=environment)
    while not Path(f"at-work-{killed.pid}").exists():
        assert killed.poll() is None
        time.sleep(0.01)
    killed.kill()
    killed.wait()
    Path("slow").unlink()
    options += ["--max-messages", "2"]  # the message and its duplicate
    subprocess.run([sys.executable, "-m", "mlpipe", "worker", *options], env=environment, check=True)
    sys.stdout.write(run.collect())
"""


@pytest.fixture(scope="module")
def example(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the example with its classifier trained."""
    folder = tmp_path_factory.mktemp("documents") / "example"
    shutil.copytree(EXAMPLE, folder, ignore=shutil.ignore_patterns("storage", "__pycache__"))
    return folder


def python(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    done = subprocess.run(
        [sys.executable, *arguments], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done


def rows(table: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(table)))


def test_the_example_prints_one_line_for_each_document_though_one_was_sent_twice(example: Path):
    done = python(example, "run.py")
    found = {
        row["document"]: (row["kind"], row["pages"], row["language"], row["sections"]) for row in rows(done.stdout)
    }
    assert found == {
        "annual-report": ("report", "40", "en", "40"),
        "confidential-agreement": ("contract", "2", "en", "2"),
        "invoice-march": ("invoice", "1", "en", "1"),
        "supply-agreement": ("contract", "3", "en", "3"),
        "thank-you": ("letter", "1", "en", "1"),
    }
    assert done.stderr.count('"outcome": "done"') == 6


def test_a_document_of_a_worker_that_was_killed_is_done_by_another_and_once(example: Path):
    (example / "slow_service.py").write_text(SLOW_SERVICE)
    (example / "killed.py").write_text(KILLED)
    done = python(example, "killed.py")
    (row,) = rows(done.stdout)
    assert (row["document"], row["kind"]) == ("invoice-march", "invoice")
    assert '"receive_count": 2' in done.stderr
