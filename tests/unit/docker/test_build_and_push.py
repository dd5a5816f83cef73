"""docker/build_and_push.sh, with programs in place of aws and docker that write down how they are called."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
REGISTRY = "111122223333.dkr.ecr.eu-central-1.amazonaws.com"
DIGEST = "sha256:" + "a" * 64

PROGRAM = f"""#!{sys.executable}
import json, os, sys
from pathlib import Path
folder = Path(__file__).parent
program, arguments = Path(__file__).name, sys.argv[1:]
with (folder / "calls").open("a") as calls:
    print(json.dumps([program, *arguments]), file=calls)
if program == "docker" and arguments[0] == "login":
    assert sys.stdin.read() == "password"
answers = json.loads((folder / "answers").read_text())
answer = answers.get(" ".join(arguments[:2]), "") if program == "aws" else ""
if answer is None:
    sys.exit("refused")
if answer:
    print(answer, end="" if answer == "password" else "\\n")
"""

ANSWERS = {
    "sts get-caller-identity": "111122223333",
    "ecr describe-repositories": "{}",
    "ecr get-login-password": "password",
    "ecr describe-images": DIGEST,
}

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Runs the script where only the programs `present` are installed, and AWS answers with `answers`."""

    def run(
        *arguments: str,
        present: tuple[str, ...] = ("aws", "docker"),
        region: str = "eu-central-1",
        **answers: str | None,
    ) -> subprocess.CompletedProcess[str]:
        for program in present:
            (tmp_path / program).write_text(PROGRAM)
            (tmp_path / program).chmod(0o755)
        given = {name.replace("_", " ", 1).replace("_", "-"): answer for name, answer in answers.items()}
        (tmp_path / "answers").write_text(json.dumps(ANSWERS | given))
        environment = {"PATH": f"{tmp_path}:/usr/bin:/bin", "AWS_REGION": region, "TORCH_INDEX_URL": "https://torch"}
        script = str(ROOT / "docker" / "build_and_push.sh")
        return subprocess.run([script, *arguments], env=environment, capture_output=True, text=True, check=False)

    return run


def calls(tmp_path: Path, *begin: str) -> list[list[str]]:
    """The calls that begin with these words."""
    every = [json.loads(line) for line in (tmp_path / "calls").read_text().splitlines()]
    return [call for call in every if call[: len(begin)] == list(begin)]


def test_what_is_pushed_is_what_is_printed_by_its_digest(run: Run, tmp_path: Path):
    done = run("mlpipe")
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"{REGISTRY}/mlpipe@{DIGEST}\n"
    (build,), (push,) = calls(tmp_path, "docker", "build"), calls(tmp_path, "docker", "push")
    assert push[2].startswith(f"{REGISTRY}/mlpipe:")
    assert build[build.index("--tag") + 1] == push[2]
    assert build[build.index("--file") + 1] == "docker/Dockerfile"
    assert "TORCH_INDEX_URL=https://torch" in build
    assert not calls(tmp_path, "aws", "ecr", "create-repository")


def test_an_image_that_extends_mlpipe_is_built_on_top_of_it(run: Run, tmp_path: Path):
    done = run("mine", str(ROOT / "docker" / "example"))
    assert done.returncode == 0, done.stderr
    base, extended = calls(tmp_path, "docker", "build")
    local = base[base.index("--tag") + 1]
    assert local.startswith("mlpipe:")
    assert f"MLPIPE_IMAGE={local}" in extended
    assert [push[2] for push in calls(tmp_path, "docker", "push")] == [extended[extended.index("--tag") + 1]]


def test_a_repository_that_is_missing_is_made(run: Run, tmp_path: Path):
    assert run("mlpipe", ecr_describe_repositories=None).returncode == 0
    assert calls(tmp_path, "aws", "ecr", "create-repository", "--repository-name", "mlpipe")


@pytest.mark.skipif(
    any(os.access(f"{folder}/{name}", os.X_OK) for folder in ("/bin", "/usr/bin") for name in ("aws", "docker")),
    reason="aws or docker is installed here",
)
@pytest.mark.parametrize("missing", ["aws", "docker"])
def test_a_program_that_is_missing_is_named(run: Run, missing: str):
    done = run("mlpipe", present=tuple({"aws", "docker"} - {missing}))
    assert (done.returncode, done.stderr) == (1, f"error: {missing} is not installed\n")


@pytest.mark.parametrize(
    ("answers", "message"),
    [
        ({"region": ""}, "no region"),
        ({"sts_get_caller_identity": None}, "no credentials"),
        ({"ecr_get_login_password": None}, "refused"),
        ({"ecr_describe_images": "None"}, "names no digest"),
    ],
)
def test_nothing_is_printed_where_something_fails(run: Run, answers: dict[str, str | None], message: str):
    done = run("mlpipe", **answers)
    assert done.returncode != 0
    assert message in done.stderr
    assert done.stdout == ""


@pytest.mark.parametrize("arguments", [(), ("--help",), ("a", "b", "c"), ("mlpipe", "no-such-folder")])
def test_it_says_how_it_is_called(run: Run, arguments: tuple[str, ...]):
    done = run(*arguments)
    assert done.returncode == 1
    assert "usage: " in done.stderr or "no-such-folder/Dockerfile is not there" in done.stderr
