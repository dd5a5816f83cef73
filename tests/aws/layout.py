"""What the platform lays out for a container: folders, configuration files, and environment variables.

Sources: https://docs.aws.amazon.com/sagemaker/latest/dg/your-algorithms-training-algo-running-container.html and
https://docs.aws.amazon.com/sagemaker/latest/dg/build-your-own-processing-container.html.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aws.jobs import Job, ProcessingJob, TrainingJob
from aws.rules import BASE

BASE_DIR_VARIABLE = "SAGEMAKER_BASE_DIR"
REPOSITORY = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Machine:
    """One machine of one attempt: its folder holds what would be its disk."""

    index: int
    names: tuple[str, ...]
    folder: Path

    @property
    def name(self) -> str:
        """What the machine is called in resourceconfig.json."""
        return self.names[self.index]

    @property
    def base(self) -> Path:
        """What stands for /opt/ml."""
        return self.folder / "ml"

    @property
    def home(self) -> Path:
        """The container's home and working folder."""
        return self.folder / "home"

    @property
    def log(self) -> Path:
        """What the container writes to stdout and stderr."""
        return self.folder / "log"

    def inside(self, path: str) -> Path:
        """Where a path of the container that begins with /opt/ml lies."""
        return self.base / path.removeprefix(BASE).strip("/")


def machines(count: int, folder: Path) -> list[Machine]:
    """The machines of an attempt; several have names by which they reach each other on this one."""
    names = ("algo-1",) if count == 1 else tuple(f"127.0.0.{number}" for number in range(1, count + 1))
    return [Machine(index, names, folder / f"algo-{index + 1}") for index in range(count)]


def lay_out(machine: Machine, files: Mapping[str, Any], folders: list[str]) -> None:
    """Write the configuration files and make the folders, below what stands for /opt/ml."""
    machine.home.mkdir(parents=True)
    for name in folders:
        (machine.base / name).mkdir(parents=True, exist_ok=True)
    for name, document in files.items():
        path = machine.base / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(document), encoding="utf-8")


def training_files(job: TrainingJob, machine: Machine) -> dict[str, Any]:
    """The files below input/config of a training job."""
    mode = job.request["AlgorithmSpecification"]["TrainingInputMode"]
    kind = job.request["ResourceConfig"]["InstanceType"]
    group = {"instance_group_name": "homogeneousCluster", "instance_type": kind, "hosts": list(machine.names)}
    return {
        "input/config/hyperparameters.json": dict(job.request.get("HyperParameters", {})),
        "input/config/inputdataconfig.json": {
            channel["ChannelName"]: _channel(channel, mode) for channel in job.request.get("InputDataConfig", [])
        },
        "input/config/resourceconfig.json": {
            "current_host": machine.name,
            "current_instance_type": kind,
            "current_group_name": "homogeneousCluster",
            "hosts": list(machine.names),
            "instance_groups": [group],
            "network_interface_name": "lo",
        },
    }


def _channel(channel: Mapping[str, Any], mode: str) -> dict[str, str]:
    distribution = channel["DataSource"]["S3DataSource"].get("S3DataDistributionType", "FullyReplicated")
    content = {"ContentType": channel["ContentType"]} if "ContentType" in channel else {}
    return content | {
        "TrainingInputMode": channel.get("InputMode", mode),
        "S3DistributionType": distribution,
        "RecordWrapperType": "None",
    }


def processing_files(job: ProcessingJob, machine: Machine) -> dict[str, Any]:
    """The files below config of a processing job."""
    document = {key: value for key, value in job.request.items() if key not in ("Tags", "ExperimentConfig")}
    return {
        "config/processingjobconfig.json": {"ProcessingJobArn": job.arn, **document},
        "config/resourceconfig.json": {"current_host": machine.name, "hosts": list(machine.names)},
    }


def variables(job: Job, machine: Machine) -> dict[str, str]:
    """The whole environment of a container.

    Of the request and of the platform, what moves /opt/ml, and what Python needs to start: PATH, HOME, and the place of
    the code that an image would have installed.
    """
    python = {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.defpath}",
        "HOME": str(machine.home),
        "PYTHONPATH": str(REPOSITORY),
    }
    platform = {"AWS_REGION": "us-east-1"}
    if isinstance(job, TrainingJob):
        platform |= {"TRAINING_JOB_NAME": job.name, "TRAINING_JOB_ARN": job.arn}
    return python | job.request.get("Environment", {}) | platform | {BASE_DIR_VARIABLE: str(machine.base)}
