"""Compiled training steps, where COMPILE asks for them."""

from __future__ import annotations

import os
import shutil
import sys

from accelerate.utils import TorchDynamoPlugin

from mlpipe.errors import SettingsError


def step_compiler(*, is_wanted: bool) -> TorchDynamoPlugin:
    """Tells Accelerate whether to compile the model that it prepares, with `torch.compile`, for batches of any shape.

    The module that was given to Accelerate stays as it is: what is validated, saved and exported is never compiled.
    Raises SettingsError where there is no C++ compiler, which the compiled steps are built with.
    """
    if is_wanted and not shutil.which(cxx()):
        raise SettingsError(
            f"[TRAINING] COMPILE = yes needs a C++ compiler, and there is no {cxx()} here",
            hint="install it, name another one in the variable CXX, or set COMPILE = no",
        )
    return TorchDynamoPlugin(backend="inductor" if is_wanted else "no", dynamic=True)


def cxx() -> str:
    """The C++ compiler that torch calls."""
    return os.environ.get("CXX", "clang++" if sys.platform == "darwin" else "g++")
