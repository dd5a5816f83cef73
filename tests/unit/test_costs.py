from __future__ import annotations

import pytest

from mlpipe.costs import billable_seconds, cost_usd, seconds_of, training_jobs
from mlpipe.settings.sagemaker import Sagemaker

MACHINE = {"instance_type": "ml.m5.xlarge"}
JOBS = [
    {"name": "train-m", "seconds": 1200.0, "billable_seconds": 1000, "instance_count": 2, **MACHINE},
    {"name": "tune-n", "seconds": 30.0, "billable_seconds": 1000, "instance_count": 1, **MACHINE},
    {"name": "infer", "seconds": 9.0, "billable_seconds": 1000, "instance_count": 1, **MACHINE},
]
PRICES = Sagemaker(price_per_hour=3.6, processing_price_per_hour=1.8)


@pytest.mark.parametrize(
    ("names", "expected"),
    [({"train-m", "tune-n", "infer"}, 3.5), ({"train-m"}, 2.0), ({"tune-n"}, 1.0), ({"infer"}, 0.5), (set(), None)],
)
def test_a_cost_is_what_was_billed_for_all_machines_by_the_price_of_their_kind(names: set[str], expected: float | None):
    assert cost_usd([job for job in JOBS if job["name"] in names], PRICES) == pytest.approx(expected)


def test_without_a_price_no_cost_is_told():
    assert cost_usd(JOBS, Sagemaker(price_per_hour=3.6)) is None


def test_a_job_that_nobody_billed_has_no_cost():
    assert cost_usd([{"name": "train-m", "seconds": 2.0}], PRICES) is None


def test_a_job_of_this_machine_adds_nothing_to_what_others_were_billed():
    assert cost_usd([*JOBS, {"name": "prepare", "seconds": 2.0}], PRICES) == pytest.approx(3.5)


def test_a_job_whose_billed_time_is_not_known_leaves_the_cost_of_all_unknown():
    unknown = {"name": "train-o", "seconds": 2.0, "instance_count": 1, **MACHINE}
    assert cost_usd([unknown], PRICES) is None
    assert cost_usd([*JOBS, unknown], PRICES) is None


def test_the_billable_seconds_of_jobs_are_those_of_all_their_machines():
    assert billable_seconds([*JOBS, {"name": "prepare", "seconds": 2.0}]) == 4000
    assert billable_seconds([{"name": "prepare", "seconds": 2.0}]) == 0
    assert billable_seconds([*JOBS, {"name": "train-o", "seconds": 2.0, "instance_count": 1, **MACHINE}]) is None


def test_a_job_that_was_billed_for_no_time_costs_nothing():
    free = {"name": "train-o", "seconds": 2.0, "billable_seconds": 0, "instance_count": 1, **MACHINE}
    assert cost_usd([free], PRICES) == 0.0
    assert cost_usd([*JOBS, free], PRICES) == pytest.approx(3.5)


def test_the_time_of_a_models_training_is_that_of_its_own_jobs():
    assert seconds_of(training_jobs(JOBS, "m")) == 1200.0
    assert seconds_of(training_jobs(JOBS, "n")) == 30.0
    assert seconds_of(training_jobs(JOBS, "infer")) is None
