"""[TUNING]: what is best."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from mlpipe.settings.section import Section


class Tuning(Section):
    """[TUNING]: what is best."""

    objective_type: Literal["auto", "Maximize", "Minimize"] = Field(
        default="auto",
        description="Whether a higher or a lower OBJECTIVE_METRIC_NAME is better; auto minimizes log_loss and "
        "maximizes any other.",
    )
