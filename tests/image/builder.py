"""Builds images without a container engine: Debian's buildah, on a base image that debootstrap makes."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
PROGRAMS = ("buildah", "debootstrap")

BASE = "localhost/debian-python:bookworm"
PACKAGES = "python3,python3-venv,ca-certificates"


@dataclass(frozen=True)
class Pip:
    """How pip is set up on this machine, so that it is in a build, too: its settings, and the paths that they name."""

    settings: Mapping[str, str]

    @classmethod
    def of_this_machine(cls) -> Pip:
        """Read it from pip itself."""
        command = [sys.executable, "-m", "pip", "config", "list"]
        listed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        entries = re.findall(r"^(?:global|:env:)\.(index-url|find-links|cert)='(.*)'$", listed, re.MULTILINE)
        return cls(dict(entries))

    def volumes(self, folder: Path) -> list[str]:
        """The options that show pip.conf, written below `folder`, and those paths to a build."""
        lines = [f"{name} = {value}" for name, value in self.settings.items()]
        (folder / "pip.conf").write_text("\n".join(["[global]", *lines, ""]))
        paths = [value for value in self.settings.values() if Path(value).is_absolute()]
        mounts = [f"{folder}/pip.conf:/etc/pip.conf:ro", *(f"{path}:{path}:ro" for path in paths)]
        return [word for mount in mounts for word in ("--volume", mount)]

    def arguments(self) -> list[str]:
        """Where wheels are at hand, torch's is among them; the index that the Dockerfile names may be out of reach."""
        index = self.settings.get("index-url", "https://pypi.org/simple")
        return ["--build-arg", f"TORCH_INDEX_URL={index}"] if "find-links" in self.settings else []


class Builder:
    """Builds images and runs them, all below `folder`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._pip = Pip.of_this_machine()

    def make_base(self) -> None:
        """The image that the others are built on: Debian with Python."""
        system = self._folder / "debian"
        self._call(["debootstrap", "--variant=minbase", f"--include={PACKAGES}", "bookworm", str(system)])
        container = self._buildah("from", "scratch")
        self._call(["cp", "--archive", f"{system}/.", self._buildah("mount", container)])
        self._buildah("commit", "--rm", container, BASE)

    def build(self, tag: str, dockerfile: Path, context: Path, arguments: Mapping[str, str]) -> None:
        """Build an image with build arguments."""
        given = [word for name, value in arguments.items() for word in ("--build-arg", f"{name}={value}")]
        pip = [*self._pip.arguments(), *self._pip.volumes(self._folder)]
        files = ["--file", str(dockerfile), "--tag", tag]
        self._buildah("bud", "--isolation", "chroot", *given, *pip, *files, str(context))

    def configuration(self, tag: str) -> Any:
        """What the image says of itself: Entrypoint, Env, User."""
        return json.loads(self._buildah("inspect", "--type", "image", tag))["OCIv1"]["config"]

    def run(self, tag: str, *arguments: str, base: Path, user: str = "") -> subprocess.CompletedProcess[str]:
        """What `docker run IMAGE ARGUMENTS` does, with the folder `base` as /opt/ml."""
        return self.execute(tag, *self.configuration(tag)["Entrypoint"], *arguments, base=base, user=user)

    def execute(self, tag: str, *command: str, base: Path, user: str = "") -> subprocess.CompletedProcess[str]:
        """Run a command in a new container of the image."""
        container = self._buildah("from", tag)
        options = ["--isolation", "chroot", "--volume", f"{base}:/opt/ml", *(["--user", user] if user else [])]
        done = self._start("run", *options, container, "--", *command)
        self._buildah("rm", container)
        return done

    def clear(self) -> None:
        """Unmount and delete everything."""
        self._buildah("rm", "--all")
        self._buildah("rmi", "--all", "--force")

    def _buildah(self, *arguments: str) -> str:
        done = self._start(*arguments)
        assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
        return done.stdout.strip()

    def _start(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        places = ["--root", f"{self._folder}/images", "--runroot", f"{self._folder}/run", "--storage-driver", "vfs"]
        command = ["buildah", *places, *arguments]
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)

    @staticmethod
    def _call(command: list[str]) -> None:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
