"""[TUNING]: what is best, and how it is searched for."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from mlpipe.settings.fields import (
    Expected,
    Flag,
    Number,
    WholeNumber,
    from_decimal,
    from_integer,
    from_optional,
    refused,
)
from mlpipe.settings.section import Section


def _optional_number(value: object) -> object:
    return None if from_optional(value) is None else from_decimal(value)


def _optional_whole_number(value: object) -> object:
    return None if from_optional(value) is None else from_integer(value)


def _short(text: str | None) -> str | None:
    if text is not None and (len(text) > 500 or "\n" in text):
        raise ValueError
    return text


OptionalNumber = Annotated[float | None, BeforeValidator(_optional_number), Expected("a number, or nothing")]
OptionalWholeNumber = Annotated[
    int | None, BeforeValidator(_optional_whole_number), Expected("the number of a run, or nothing")
]
Regex = Annotated[
    str | None,
    BeforeValidator(from_optional),
    AfterValidator(_short),
    Expected("a regular expression with one group, of at most 500 characters, or nothing"),
]


class Tuning(Section):
    """[TUNING]: what is best, and how it is searched for."""

    objective_type: Literal["auto", "Maximize", "Minimize"] = Field(
        default="auto",
        description="Whether a higher or a lower OBJECTIVE_METRIC_NAME is better; auto minimizes log_loss and "
        "maximizes any other.",
    )
    strategy: Literal["Bayesian", "Random", "Grid", "Hyperband"] = Field(
        default="Bayesian",
        description="How trials are drawn: Bayesian learns from earlier ones, Random does not, Grid tries every "
        "combination of categories, Hyperband gives bad ones few epochs.",
    )
    sampler: Literal["tpe", "gp"] = Field(
        default="tpe",
        description="The model behind Bayesian on this machine: Parzen estimators, or a Gaussian process, which takes "
        "longer to draw and is as good or better where trials are few. SageMaker has its own.",
    )
    max_jobs: WholeNumber = Field(default=20, ge=1, le=750, description="Trials of each model.")
    max_parallel_jobs: WholeNumber = Field(
        default=1, ge=1, le=100, description="Trials that run side by side; more of them learn less from each other."
    )
    early_stopping: Literal["Auto", "Off"] = Field(
        default="Auto",
        description="Auto stops a trial whose objective after an epoch is worse than the median of the running "
        "averages of earlier trials up to that epoch.",
    )
    seed: WholeNumber = Field(
        default=1, ge=1, le=2**31 - 1, description="Seed of the draws: trials one at a time repeat exactly."
    )
    target_value: OptionalNumber = Field(
        default=None, description="An objective that is good enough: once a trial reaches it, no more are started."
    )
    patience: WholeNumber = Field(
        default=0,
        ge=0,
        le=750,
        description="Trials without a better objective after which no more are started; 0 never ends early.",
    )
    max_minutes: Number = Field(
        default=0.0, ge=0, description="Minutes after which no more trials are started; 0 sets no limit."
    )
    max_failures: WholeNumber = Field(
        default=3, ge=1, le=750, description="Failed trials in a row that end the tuning as failed."
    )
    keep_trials: Flag = Field(
        default=False, description="Whether the models of all trials are kept among the run's attempts."
    )
    warm_start_run: OptionalWholeNumber = Field(
        default=None, ge=1, description="A run whose trials are learned from; nothing learns from none."
    )
    metric_regex: Regex = Field(
        default=None,
        description="What finds the objective in a line of a trial's log: the latest match of its one group counts. "
        "Nothing takes the line that the training prints for it.",
    )

    @model_validator(mode="after")
    def _runs_no_more_than_it_may(self) -> Tuning:
        if self.max_parallel_jobs > self.max_jobs:
            reason = f"MAX_PARALLEL_JOBS = {self.max_parallel_jobs} is more than MAX_JOBS = {self.max_jobs}"
            raise refused(reason, "max_parallel_jobs", "max_jobs")
        return self
