"""What of [TRAINING] has a form for rows with any number of labels."""

from __future__ import annotations

from mlpipe.errors import SettingsError
from mlpipe.settings.fields import METRIC_NAMES
from mlpipe.settings.schema import Training

MULTI_LABEL_METRICS = tuple(name for name in METRIC_NAMES if name not in ("mcc", "log_loss"))


def check_multi_label(training: Training) -> None:
    """Raise SettingsError, with all that is wrong, where something is asked for that has no multi-label form."""
    problems = [f"METRICS: {name}" for name in training.metrics if name not in MULTI_LABEL_METRICS]
    if training.class_weights != "none":
        problems.append(f"CLASS_WEIGHTS = {training.class_weights}")
    if problems:
        raise SettingsError(
            f"[TRAINING] {', '.join(problems)}: there is no form of it for rows with several labels",
            hint=f"METRICS may be {', '.join(MULTI_LABEL_METRICS)}, and CLASS_WEIGHTS none: every label has a "
            "threshold of its own anyway",
        )
