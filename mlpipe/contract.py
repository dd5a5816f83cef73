"""Where a job finds its inputs and leaves its results: SageMaker's container contract, as paths.

Sources: https://docs.aws.amazon.com/sagemaker/latest/dg/your-algorithms-training-algo-running-container.html and
https://docs.aws.amazon.com/sagemaker/latest/dg/build-your-own-processing-container.html. `SAGEMAKER_BASE_DIR` moves the
whole layout away from /opt/ml; backends write it, jobs read it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from mlpipe.specs import JobKind

BASE_DIR_VARIABLE = "SAGEMAKER_BASE_DIR"
DEFAULT_BASE_DIR = "/opt/ml"

JOB_CHANNEL = "job"
"""The channel that carries what mlpipe adds: settings.resolved.json, user_functions/, and job.json."""

SOURCES_FOLDER = "sources"
"""The folder of that channel with copies of [DATA] SOURCES, for a job that runs on another machine: it is the working
directory there, as the folder of the settings file is here."""

THRESHOLDS = "thresholds.json"
"""The file of a multi-label model with the probability from which on each label counts as predicted."""

YARDSTICK = "_yardstick"
"""The folder of an infer job's output with the linear model's predictions; no model has a name like this."""

PARENT_VARIABLE = "MLPIPE_PARENT_FD"
"""The descriptor of a pipe whose other end closes when the process that started the job is gone."""

SECRET_PREFIX = "MLPIPE_SECRET_"
"""How the names of the variables begin that name a secret; the rest is the variable that the secret is put into."""

PROGRESS_MARK = "progress: "
"""How the lines of a log begin that are of interest only until the next one comes."""

OBJECTIVE_MARK = "mlpipe-objective: "
"""How the line begins that tells a tuner the objective metric."""

TRIAL_MARK = "_tuning_objective_metric"
"""What SageMaker puts among the hyperparameters of a training job that is a trial of a tuning job."""

DEFERRAL_MARK = "_export_is_deferred"
"""What stands among the hyperparameters of a trial that leaves its export to a later attempt of the same training."""

TRACEBACK_MARK = "  | "
"""How the lines of a traceback begin in a log: kept there, and shown on the console only with --debug."""


def default_regex(metric: str) -> str:
    """What matches the line that a training prints of its objective, after each epoch and once more at its end."""
    return rf"{re.escape(OBJECTIVE_MARK)}{re.escape(metric)}=([-+0-9.eE]+)"


@dataclass(frozen=True)
class ContractFolders:
    """The folders of one job below `base`: its channels, what it produces, and the file that says why it failed.

    `checkpoints` is what the platform hands on from one attempt of a training job to the next, `output_data` takes what
    is to be kept of a training job beside its model.
    """

    base: Path
    inputs: Path
    output: Path
    failure: Path
    checkpoints: Path
    output_data: Path

    @classmethod
    def of(cls, kind: JobKind, base: Path) -> ContractFolders:
        """The folders of a training job, or of a processing job, whose one output is called `result`."""
        if kind is JobKind.TRAINING:
            inputs, output, failure = base / "input" / "data", base / "model", base / "output" / "failure"
        else:
            processing = base / "processing"
            inputs, output = processing / "input", processing / "output" / "result"
            failure = base / "output" / "message"
        return cls(base, inputs, output, failure, base / "checkpoints", base / "output" / "data")
