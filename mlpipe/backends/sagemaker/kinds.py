"""The three kinds of job in SageMaker's API: what their operations and members are called."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sagemaker.core import resources

from mlpipe.specs import JobKind


@dataclass(frozen=True)
class Kind:
    """One kind of job: its name in operations and members, and the SDK's resource."""

    name: str
    operation: str
    resource: Any

    @property
    def creation(self) -> str:
        """The operation that creates a job."""
        return f"Create{self.name}"

    def describe(self, client: Any, job: str) -> Mapping[str, Any]:
        """What the service says of a job."""
        found: Mapping[str, Any] = getattr(client, f"describe_{self.operation}")(**{f"{self.name}Name": job})
        return found

    def stop(self, client: Any, job: str) -> None:
        """Ask the service to end a job."""
        getattr(client, f"stop_{self.operation}")(**{f"{self.name}Name": job})

    def status(self, described: Mapping[str, Any]) -> str:
        """The service's word for where a described job stands."""
        return str(described[f"{self.name}Status"])

    def arn(self, described: Mapping[str, Any]) -> str:
        """The ARN of a described job."""
        return str(described[f"{self.name}Arn"])


KINDS = {
    JobKind.TRAINING: Kind("TrainingJob", "training_job", resources.TrainingJob),
    JobKind.PROCESSING: Kind("ProcessingJob", "processing_job", resources.ProcessingJob),
    JobKind.TUNING: Kind("HyperParameterTuningJob", "hyper_parameter_tuning_job", resources.HyperParameterTuningJob),
}
