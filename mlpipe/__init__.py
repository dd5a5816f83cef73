"""mlpipe: from a settings file and five functions to a measured, versioned classification experiment."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mlpipe.predictor import load_model as load_model

__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    """`mlpipe.load_model`, imported on first use: it needs torch, and the command line does not."""
    if name != "load_model":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from mlpipe.predictor import load_model

    return load_model
