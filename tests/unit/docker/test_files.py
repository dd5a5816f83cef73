"""The files of docker/, as they lie there: what the linters and the platform ask for."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

DOCKER = Path(__file__).parents[3] / "docker"
PROGRAMS = Path(sys.executable).parent
DOCKERFILES = sorted(DOCKER.rglob("Dockerfile"))


def instructions(dockerfile: Path) -> list[tuple[str, str]]:
    """The instructions of a Dockerfile with what follows them, continued lines as one."""
    text = re.sub(r"(?m)^#.*\n", "", dockerfile.read_text()).replace("\\\n", " ")
    return [tuple(line.split(maxsplit=1)) for line in text.splitlines() if line.strip()]


@pytest.mark.parametrize("dockerfile", DOCKERFILES, ids=lambda path: path.parent.name)
def test_hadolint_finds_nothing(dockerfile: Path):
    done = subprocess.run([PROGRAMS / "hadolint", dockerfile], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")


def test_shellcheck_finds_nothing():
    scripts = sorted(DOCKER.rglob("*.sh"))
    assert scripts
    done = subprocess.run([PROGRAMS / "shellcheck", *scripts], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")


def test_the_image_starts_the_entrypoint_directly_so_that_signals_reach_it():
    found = dict(instructions(DOCKER / "Dockerfile"))
    assert json.loads(found["ENTRYPOINT"]) == ["python", "-m", "mlpipe.jobs"]
    assert "CMD" not in found
    for dockerfile in DOCKERFILES[1:]:
        assert not {"ENTRYPOINT", "CMD"} & {name for name, _ in instructions(dockerfile)}


def test_the_image_switches_the_debugger_of_sagemaker_off():
    (environment,) = [rest for name, rest in instructions(DOCKER / "Dockerfile") if name == "ENV"]
    assert "USE_SMDEBUG=0" in environment.split()


@pytest.mark.parametrize("dockerfile", DOCKERFILES, ids=lambda path: path.parent.name)
def test_who_the_jobs_run_as_can_be_chosen(dockerfile: Path):
    found = instructions(dockerfile)
    assert ("ARG", "RUN_AS=0") in found
    assert [rest for name, rest in found if name == "USER"][-1] == "${RUN_AS}"


def test_only_what_is_listed_gets_into_an_image():
    lines = [line for line in (DOCKER.parent / ".dockerignore").read_text().splitlines() if not line.startswith("#")]
    assert lines[0] == "*"
    listed = {line.removeprefix("!") for line in lines if line.startswith("!")}
    assert listed == {"constraints.txt", "LICENSE", "README.md", "mlpipe", "pyproject.toml"}
