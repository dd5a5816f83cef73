"""What jobs may cost at worst: machines times the time after which the service ends a job, and what the limits say."""

from __future__ import annotations

from collections.abc import Iterable

from mlpipe.backends.base import WorstCase
from mlpipe.errors import SettingsError
from mlpipe.settings.sagemaker import Sagemaker
from mlpipe.specs import JobKind, JobSpec


def worst_case(specs: Iterable[JobSpec], options: Sagemaker) -> WorstCase:
    """What these jobs take if every one runs until it is ended for its time.

    Spot capacity counts at the full price: its price is known only afterwards.
    """
    hours, usd = 0.0, 0.0
    is_known = True
    for spec in specs:
        is_processing = spec.kind is JobKind.PROCESSING
        machines = 1 if is_processing else options.instance_count
        price = options.processing_price_per_hour if is_processing else options.price_per_hour
        trials = spec.tuning.max_jobs if spec.tuning else 1
        taken = trials * machines * spec.max_runtime_s / 3600
        hours, usd = hours + taken, usd + taken * price
        is_known = is_known and price > 0
    return WorstCase(hours, usd if is_known else None)


def check_cost(cost: WorstCase, options: Sagemaker) -> None:
    """Raise SettingsError where the worst case is beyond a limit of the settings."""
    advice = "a shorter [SAGEMAKER] MAX_RUNTIME or fewer jobs lower the worst case"
    if options.max_instance_hours and cost.instance_hours > options.max_instance_hours:
        raise SettingsError(
            f"[SAGEMAKER] MAX_INSTANCE_HOURS = {options.max_instance_hours:g}: at worst the jobs take "
            f"{cost.instance_hours:g} instance-hours; nothing was started",
            hint=advice,
        )
    if options.max_cost_usd and (cost.usd is None or cost.usd > options.max_cost_usd):
        amount = "an unknown sum" if cost.usd is None else f"{cost.usd:.2f} dollars"
        limit = f"[SAGEMAKER] MAX_COST_USD = {options.max_cost_usd:g}"
        raise SettingsError(
            f"{limit}: at worst the jobs cost {amount}; nothing was started",
            hint=advice,
        )
