"""The versions of the packages that results depend on, where jobs run on this machine."""

from __future__ import annotations

import platform
from importlib import metadata

from mlpipe import __version__

RECORDED_PACKAGES = ("torch", "transformers", "datasets", "accelerate", "evaluate", "numpy", "pyarrow", "safetensors")


def installed_versions() -> dict[str, str]:
    """Each package's version, read without importing anything."""
    versions = {"mlpipe": __version__, "python": platform.python_version()}
    return versions | {name: metadata.version(name) for name in RECORDED_PACKAGES}
