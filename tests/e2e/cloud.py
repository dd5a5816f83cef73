"""A project whose jobs run in SageMaker."""

from __future__ import annotations

from e2e.project import Project

ROLE = "arn:aws:iam::123456789012:role/mlpipe-jobs"
IMAGE = "registry.example.com/mlpipe:1"


def to_sagemaker(project: Project, uri: str) -> None:
    """Let its jobs run in SageMaker, and keep its storage at `uri`."""
    project.edit("settings.ini", "SEED = 7", f"SEED = 7\nBACKEND = sagemaker\nSTORAGE = {uri}")
    project.edit(
        "settings.ini", "[TRAINING]", f"[SAGEMAKER]\nROLE_ARN = {ROLE}\nDOCKER_IMAGE_PATH = {IMAGE}\n\n[TRAINING]"
    )
