"""Whether the packages of optional features are installed where they are asked for."""

from __future__ import annotations

from importlib.util import find_spec

from mlpipe.errors import SettingsError, installation
from mlpipe.settings.schema import Tracking


def check_tracker(tracking: Tracking) -> None:
    """Raise SettingsError where the tracker's package is not installed here; it is looked for, not imported."""
    name = tracking.tracker
    if name == "none":
        return
    spec = find_spec(name)
    # A mere folder of that name, as wandb itself makes one where it runs, is found too, but has no origin.
    if spec is None or spec.origin is None:
        raise SettingsError(
            f"[TRACKING] TRACKER = {name} needs the package {name}, which is not installed",
            hint=f"{installation(name)}; or TRACKER = none",
        )
