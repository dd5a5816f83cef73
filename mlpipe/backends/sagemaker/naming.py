"""Names of jobs: unique, readable, the same for the same attempt, and within what the service and the policies allow.

The policies of docker/iam are for jobs whose names begin with `mlpipe-`.
"""

from __future__ import annotations

import re

from mlpipe.specs import JobKind, JobSpec

MAX_LENGTH = {JobKind.TRAINING: 63, JobKind.PROCESSING: 63, JobKind.TUNING: 32}
"""https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_CreateTrainingJob.html, and of the other kinds."""

_PREFIX = "mlpipe"
_SUFFIX = {JobKind.TRAINING: 12, JobKind.PROCESSING: 12, JobKind.TUNING: 8}


def job_name(experiment: str, spec: JobSpec) -> str:
    """`mlpipe-<experiment>-<run>-<step>-<model>-<suffix>`; long experiments and models are cut, the suffix never.

    The suffix is the end of the attempt's random id, so that a job that is asked for twice has one name.
    """
    suffix = spec.attempt[-_SUFFIX[spec.kind] :]
    run = str(spec.run_num) if spec.run_num else "data"
    room = MAX_LENGTH[spec.kind] - len(f"{_PREFIX}--{run}---{suffix}")
    job = _plain(spec.name)
    first = _plain(experiment)[: max(room // 2, room - len(job))].rstrip("-")
    second = job[: room - len(first)].rstrip("-")
    return "-".join(part for part in (_PREFIX, first, run, second, suffix) if part)


def _plain(text: str) -> str:
    """Letters, digits and single dashes."""
    return re.sub("[^A-Za-z0-9]+", "-", text).strip("-")
