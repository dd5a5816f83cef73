"""What the jobs of a run have taken: seconds, and dollars where the service billed them and the prices are known."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from mlpipe.settings.sagemaker import Sagemaker

Job = Mapping[str, Any]
"""A job as run.json records it."""


def training_jobs(jobs: Iterable[Job], model_name: str) -> list[Job]:
    """The jobs that trained or tuned a model; none where an earlier command's record of them is lost."""
    return [job for job in jobs if job["name"] in (f"train-{model_name}", f"tune-{model_name}")]


def seconds_of(jobs: Iterable[Job]) -> float | None:
    """The seconds that the jobs ran, all together; None where there is no job."""
    seconds = [job["seconds"] for job in jobs]
    return sum(seconds) if seconds else None


def billable_seconds(jobs: Iterable[Job]) -> int | None:
    """The seconds of machines that are billed for the jobs, all together; 0 where all ran on this machine.

    Only a job of the service has a type of machine in its record. None where the service has not said of one of them
    how long it bills: a part of the sum is never told as the whole.
    """
    billed = [job for job in jobs if "instance_type" in job]
    if any("billable_seconds" not in job for job in billed):
        return None
    seconds: int = sum(job["billable_seconds"] * job["instance_count"] for job in billed)
    return seconds


def cost_usd(jobs: Iterable[Job], options: Sagemaker) -> float | None:
    """What was billed for the jobs, in US dollars: seconds of machines times the price in the settings.

    None where no job was billed, where a price is not known, or where `billable_seconds` is not.
    """
    billed = [job for job in jobs if "instance_type" in job]
    usd = 0.0
    for job in billed:
        seconds, price = billable_seconds([job]), _price_per_hour(job, options)
        if not price or seconds is None:
            return None
        usd += price * seconds / 3600
    return usd if billed else None


def _price_per_hour(job: Job, options: Sagemaker) -> float:
    is_training = job["name"].startswith(("train-", "tune-"))
    return options.price_per_hour if is_training else options.processing_price_per_hour
