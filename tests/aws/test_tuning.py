"""Tuning jobs of the fake: trials are drawn, run, scored, and the best is told."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
from aws.account import Account
from aws.conftest import MakeAccount
from aws.requests import tuning_request
from aws.sampling import draws

SCORE = """
given = json.loads((base / "input/config/hyperparameters.json").read_text())
print("score=100")
print("score=" + given["x"])
(base / "model" / "given.json").write_text(json.dumps(given))
"""


def trials(account: Account, **query: Any) -> list[dict[str, Any]]:
    pages = account.sagemaker.get_paginator("list_training_jobs_for_hyper_parameter_tuning_job")
    found = pages.paginate(HyperParameterTuningJobName="tune", **query)
    return [trial for page in found for trial in page["TrainingJobSummaries"]]


def value(trial: dict[str, Any]) -> float:
    return float(trial["FinalHyperParameterTuningJobObjectiveMetric"]["Value"])


def test_trials_are_scored_by_their_latest_value_and_the_best_is_told(make_account: MakeAccount):
    account = make_account(SCORE)
    tags = [{"Key": "owner", "Value": "me"}]
    done = account.tune({**tuning_request(account.bucket, StaticHyperParameters={"epochs": "2"}), "Tags": tags})
    assert done["HyperParameterTuningJobStatus"] == "Completed", done
    assert done["TrainingJobStatusCounters"]["Completed"] == 3
    assert done["ObjectiveStatusCounters"] == {"Succeeded": 3, "Pending": 0, "Failed": 0}
    found = trials(account)
    assert [trial["TrainingJobName"][:9] for trial in found] == ["tune-001-", "tune-002-", "tune-003-"]
    for trial in found:
        assert value(trial) == pytest.approx(float(trial["TunedHyperParameters"]["x"]), abs=1e-6)
    best = max(found, key=value)
    assert done["BestTrainingJob"]["TrainingJobName"] == best["TrainingJobName"]
    job = account.ended("Training", best["TrainingJobName"])
    assert job["TuningJobArn"] == done["HyperParameterTuningJobArn"]
    assert job["HyperParameters"] == {
        "epochs": "2",
        "_tuning_objective_metric": "score",
        **best["TunedHyperParameters"],
    }
    assert f"{best['TrainingJobName']}/output/model/given.json" in account.objects("out/")
    assert account.sagemaker.list_tags(ResourceArn=job["TrainingJobArn"])["Tags"] == tags


def test_the_least_value_is_the_best_where_it_is_to_be_minimised(make_account: MakeAccount):
    account = make_account(SCORE)
    objective = {"Type": "Minimize", "MetricName": "score"}
    config = {"HyperParameterTuningJobObjective": objective}
    done = account.tune(tuning_request(account.bucket, trials=2, config=config))
    assert value(done["BestTrainingJob"]) == min(value(trial) for trial in trials(account))


def test_lists_of_trials_come_in_pages_and_in_order(make_account: MakeAccount):
    account = make_account(SCORE)
    account.tune(tuning_request(account.bucket))
    page = account.sagemaker.list_training_jobs_for_hyper_parameter_tuning_job(
        HyperParameterTuningJobName="tune", MaxResults=2
    )
    assert len(page["TrainingJobSummaries"]) == 2
    assert page["NextToken"]
    values = [value(trial) for trial in trials(account, SortBy="FinalObjectiveMetricValue", SortOrder="Descending")]
    assert len(values) == 3
    assert values == sorted(values, reverse=True)


def test_no_more_trials_run_side_by_side_than_are_asked_for(make_account: MakeAccount):
    account = make_account("time.sleep(0.2); print('score=1')")
    account.tune(tuning_request(account.bucket, trials=3, parallel=1))
    found = trials(account, SortBy="CreationTime")
    for earlier, later in pairwise(found):
        assert earlier["TrainingEndTime"] <= later["CreationTime"]


def test_a_trial_without_the_metric_has_a_failed_objective(make_account: MakeAccount):
    account = make_account("if '-001-' not in os.environ['TRAINING_JOB_NAME']: print('score=0.5')")
    done = account.tune(tuning_request(account.bucket, trials=2))
    assert done["HyperParameterTuningJobStatus"] == "Completed"
    assert done["ObjectiveStatusCounters"] == {"Succeeded": 1, "Pending": 0, "Failed": 1}
    assert [trial["ObjectiveStatus"] for trial in trials(account)] == ["Failed", "Succeeded"]


@pytest.mark.parametrize(
    ("code", "reason"), [("print('none')", "No objective metrics found"), ("sys.exit(1)", "All training jobs failed")]
)
def test_a_tuning_job_without_a_scored_trial_fails(make_account: MakeAccount, code: str, reason: str):
    account = make_account(code)
    done = account.tune(tuning_request(account.bucket, trials=2))
    assert done["HyperParameterTuningJobStatus"] == "Failed"
    assert reason in done["FailureReason"]
    assert "BestTrainingJob" not in done


def test_stopping_a_tuning_job_stops_its_trials(make_account: MakeAccount):
    account = make_account("print('score=0.5'); time.sleep(60)")
    account.sagemaker.create_hyper_parameter_tuning_job(**tuning_request(account.bucket))
    while len(trials(account)) < 2:
        pass
    account.sagemaker.stop_hyper_parameter_tuning_job(HyperParameterTuningJobName="tune")
    done = account.ended("HyperParameterTuning", "tune")
    assert done["HyperParameterTuningJobStatus"] == "Stopped"
    assert done["TrainingJobStatusCounters"]["Stopped"] == 2


def test_a_target_that_is_reached_ends_the_search(make_account: MakeAccount):
    account = make_account(SCORE)
    criteria = {"TuningJobCompletionCriteria": {"TargetObjectiveMetricValue": 0.0001}}
    done = account.tune(tuning_request(account.bucket, trials=9, parallel=1, config=criteria))
    assert done["HyperParameterTuningJobStatus"] == "Completed"
    assert len(trials(account)) == 1


def drawn(count: int, kind: str, strategy: str = "Random", **entry: Any) -> list[str]:
    ranges = {f"{kind}ParameterRanges": [{"Name": "x", **entry}]}
    values = draws({"Strategy": strategy, "ParameterRanges": ranges, "RandomSeed": 5})
    return [trial["x"] for trial, _ in zip(values, range(count), strict=False)]


def test_draws_depend_on_the_seed_alone():
    entry = {"MinValue": "0", "MaxValue": "1"}
    assert drawn(5, "Continuous", **entry) == drawn(5, "Continuous", "Bayesian", **entry)


def test_draws_follow_the_scale_and_stay_in_the_range():
    small = [float(text) for text in drawn(200, "Continuous", MinValue="1e-6", MaxValue="1", ScalingType="Logarithmic")]
    assert 60 < sum(number < 1e-3 for number in small) < 140
    close = drawn(200, "Continuous", MinValue="0", MaxValue="0.999999", ScalingType="ReverseLogarithmic")
    assert 60 < sum(float(text) > 0.999 for text in close) < 140
    whole = {int(text) for text in drawn(200, "Integer", MinValue="2", MaxValue="4")}
    assert whole == {2, 3, 4}


def test_a_grid_is_every_combination_once():
    assert drawn(9, "Categorical", "Grid", Values=["a", "b", "c"]) == ["a", "b", "c"]
