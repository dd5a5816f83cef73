"""Settings and jobs of an experiment in SageMaker, and the requests that they become; nothing is sent."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from mlpipe.settings import Settings, load_settings
from mlpipe.specs import Channel, JobKind, JobSpec

ROLE = "arn:aws:iam::123456789012:role/mlpipe-jobs"
IMAGE = "123456789012.dkr.ecr.us-east-1.amazonaws.com/mlpipe:1"

SETTINGS = f"""
[EXPERIMENT]
EXPERIMENT_NAME = demo
MODEL_NAMES = m
BACKEND = sagemaker
STORAGE = s3://bucket/team
[SAGEMAKER]
ROLE_ARN = {ROLE}
DOCKER_IMAGE_PATH = {IMAGE}
"""

Load = Callable[..., Settings]


@pytest.fixture
def load(tmp_path: Path) -> Load:
    """Read settings that run in SageMaker; `overrides` are --set options."""

    def read(*overrides: str, more: str = "") -> Settings:
        path = tmp_path / "settings.ini"
        path.write_text(SETTINGS + more)
        return load_settings(path, overrides, environment={})

    return read


def job(kind: JobKind = JobKind.TRAINING, name: str = "train-m", **changes: object) -> JobSpec:
    """A job of run 7."""
    given = {
        "name": name,
        "kind": kind,
        "step": "train" if kind is JobKind.TRAINING else "infer",
        "attempt": f"demo/runs/7/attempts/{name}-0123456789ab",
        "channels": (
            Channel("job", "demo/runs/7/attempts/a/job_channel"),
            Channel("train", "demo/data/prepared/p/train"),
        ),
        "arguments": {},
        "hyperparameters": {"epochs": 3, "learning_rate": 1e-05},
        "threads": 4,
        "max_runtime_s": 3600,
        "log": f"demo/runs/7/logs/{name}.log",
        "checkpoints": "demo/runs/7/checkpoints/m" if kind is JobKind.TRAINING else None,
        "run_num": 7,
    }
    return JobSpec(**{**given, **changes})  # type: ignore[arg-type]
