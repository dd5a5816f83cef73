"""The configuration files that a job finds below its folder, as SageMaker writes them: see `mlpipe.contract`.

Hyperparameters are text, as on the wire.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mlpipe.specs import JobKind, JobSpec


def configuration_files(spec: JobSpec) -> Mapping[str, Any]:
    """The configuration files, by path relative to the base folder, with their content."""
    resources = {"current_host": "algo-1", "hosts": ["algo-1"], "network_interface_name": "lo"}
    if spec.kind is JobKind.TRAINING:
        return {
            "input/config/hyperparameters.json": {name: str(value) for name, value in spec.hyperparameters.items()},
            "input/config/inputdataconfig.json": {
                channel.name: {"TrainingInputMode": "File", "S3DistributionType": "FullyReplicated"}
                for channel in spec.channels
            },
            "input/config/resourceconfig.json": resources,
        }
    return {
        "config/resourceconfig.json": resources,
        "config/processingjobconfig.json": {
            "ProcessingJobName": spec.name,
            "AppSpecification": {"ContainerArguments": [spec.step]},
            "ProcessingInputs": [{"InputName": channel.name} for channel in spec.channels],
        },
    }


def write_configuration(base: Path, files: Mapping[str, Any]) -> None:
    """Write the configuration files below `base`."""
    for name, document in files.items():
        path = base / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(document), encoding="utf-8")
