"""From a JobSpec to the request that SageMaker is sent: typed, complete, and made without a client.

API: https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_CreateTrainingJob.html,
API_CreateProcessingJob.html and API_CreateHyperParameterTuningJob.html. Every prefix ends in a slash: `run1` would also
match `run10`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sagemaker.core import resources, shapes
from sagemaker.core.shapes import (
    AlgorithmSpecification,
    AppSpecification,
    Channel,
    CheckpointConfig,
    DataSource,
    HyperParameterAlgorithmSpecification,
    HyperParameterTrainingJobDefinition,
    HyperParameterTuningJobWarmStartConfig,
    MetricDefinition,
    NetworkConfig,
    OutputDataConfig,
    ParentHyperParameterTuningJob,
    ProcessingClusterConfig,
    ProcessingInput,
    ProcessingOutput,
    ProcessingOutputConfig,
    ProcessingResources,
    ProcessingS3Input,
    ProcessingS3Output,
    ProcessingStoppingCondition,
    ResourceConfig,
    S3DataSource,
    StoppingCondition,
    VpcConfig,
)
from sagemaker.core.utils.utils import serialize, snake_to_pascal

from mlpipe.backends.sagemaker.naming import job_name
from mlpipe.backends.sagemaker.tuning_config import tuning_config
from mlpipe.backends.variables import job_variables
from mlpipe.contract import DEFAULT_BASE_DIR, SECRET_PREFIX, ContractFolders, default_regex
from mlpipe.settings import Settings
from mlpipe.settings.sagemaker import pairs_of
from mlpipe.specs import JobKind, JobSpec
from mlpipe.storage import Storage

ATTEMPT_TAG = "mlpipe:attempt"
"""The tag that says which attempt of which run a job is: how our own job is known again."""

_KEY_VARIABLES = {"wandb": "WANDB_API_KEY", "mlflow": "MLFLOW_TRACKING_TOKEN"}


@dataclass(frozen=True)
class Request:
    """A call that creates a job: the arguments of the resource's `create`."""

    kind: JobKind
    name: str
    arguments: Mapping[str, Any]

    def body(self) -> dict[str, Any]:
        """The request as it goes over the wire."""
        body: dict[str, Any] = serialize({snake_to_pascal(name): value for name, value in self.arguments.items()})
        return body


class Requests:
    """Makes the requests of an experiment whose storage is in S3; `region` is where its jobs run."""

    def __init__(self, settings: Settings, storage: Storage, region: str) -> None:
        self._settings = settings
        self._options = settings.sagemaker
        self._storage = storage
        self._region = region

    def of(self, spec: JobSpec) -> Request:
        """The request of one job."""
        name = job_name(self._settings.experiment.experiment_name, spec)
        build = {
            JobKind.TRAINING: self._training,
            JobKind.PROCESSING: self._processing,
            JobKind.TUNING: self._tuning,
        }[spec.kind]
        return Request(spec.kind, name, build(spec, name))

    def _training(self, spec: JobSpec, name: str) -> dict[str, Any]:
        return {
            "training_job_name": name,
            "hyper_parameters": {key: str(value) for key, value in spec.hyperparameters.items()},
            "algorithm_specification": AlgorithmSpecification(**self._algorithm(spec)),
            "tags": self._tags(spec, resources.Tag),
            **self._definition(spec),
        }

    def _tuning(self, spec: JobSpec, name: str) -> dict[str, Any]:
        tuning = spec.tuning
        assert tuning is not None
        definition = HyperParameterTrainingJobDefinition(
            algorithm_specification=HyperParameterAlgorithmSpecification(**self._algorithm(spec)),
            static_hyper_parameters={key: str(value) for key, value in spec.hyperparameters.items()},
            **self._definition(spec),
        )
        warm_start = {}
        if tuning.parent:
            parent = ParentHyperParameterTuningJob(hyper_parameter_tuning_job_name=tuning.parent)
            warm_start["warm_start_config"] = HyperParameterTuningJobWarmStartConfig(
                parent_hyper_parameter_tuning_jobs=[parent], warm_start_type="TransferLearning"
            )
        return {
            "hyper_parameter_tuning_job_name": name,
            "hyper_parameter_tuning_job_config": tuning_config(tuning, spec.hyperparameters),
            "training_job_definition": definition,
            "tags": self._tags(spec, shapes.Tag),
            **warm_start,
        }

    def _algorithm(self, spec: JobSpec) -> dict[str, Any]:
        """The image, and the line of the log that has the objective."""
        objective = self._settings.training.objective_metric_name
        regex = spec.tuning.regex if spec.tuning else default_regex(objective)
        return {
            "training_image": self._options.docker_image_path,
            "training_input_mode": "File",
            "metric_definitions": [MetricDefinition(name=objective, regex=regex)],
        }

    def _definition(self, spec: JobSpec) -> dict[str, Any]:
        """What a training job and every trial of a tuning job have in common."""
        options = self._options
        definition = {
            "role_arn": options.role_arn,
            "input_data_config": [self._channel(channel.name, channel.key) for channel in spec.channels],
            "output_data_config": OutputDataConfig(
                s3_output_path=self._prefix(spec.attempt),
                compression_type="NONE",
                **_given(kms_key_id=options.output_kms_key),
            ),
            "resource_config": ResourceConfig(
                instance_type=options.instance_type,
                instance_count=options.instance_count,
                volume_size_in_gb=options.volume_size_gb,
                **_given(
                    volume_kms_key_id=options.volume_kms_key, keep_alive_period_in_seconds=options.warm_pool_seconds
                ),
            ),
            "stopping_condition": StoppingCondition(
                max_runtime_in_seconds=spec.max_runtime_s,
                **_given(max_wait_time_in_seconds=options.max_wait if options.spot else 0),
            ),
            "enable_network_isolation": options.network_isolation,
            "enable_inter_container_traffic_encryption": options.encrypt_traffic,
            "enable_managed_spot_training": options.spot,
            "environment": self._environment(spec),
            **_given(vpc_config=self._vpc()),
        }
        if spec.checkpoints:
            definition["checkpoint_config"] = CheckpointConfig(
                s3_uri=self._prefix(spec.checkpoints), local_path=f"{DEFAULT_BASE_DIR}/checkpoints"
            )
        return definition

    def _processing(self, spec: JobSpec, name: str) -> dict[str, Any]:
        options, folders = self._options, ContractFolders.of(JobKind.PROCESSING, Path(DEFAULT_BASE_DIR))
        output = ProcessingS3Output(
            s3_uri=self._prefix(spec.output), local_path=str(folders.output), s3_upload_mode="EndOfJob"
        )
        cluster = ProcessingClusterConfig(
            instance_type=options.processing_instance_type,
            instance_count=1,
            volume_size_in_gb=options.volume_size_gb,
            **_given(volume_kms_key_id=options.volume_kms_key),
        )
        return {
            "processing_job_name": name,
            "role_arn": options.role_arn,
            "app_specification": AppSpecification(image_uri=options.docker_image_path, container_arguments=[spec.step]),
            "processing_inputs": [
                self._input(channel.name, channel.key, f"{folders.inputs}/{channel.name}") for channel in spec.channels
            ],
            "processing_output_config": ProcessingOutputConfig(
                outputs=[ProcessingOutput(output_name="result", s3_output=output)],
                **_given(kms_key_id=options.output_kms_key),
            ),
            "processing_resources": ProcessingResources(cluster_config=cluster),
            "stopping_condition": ProcessingStoppingCondition(max_runtime_in_seconds=spec.max_runtime_s),
            "network_config": NetworkConfig(
                enable_network_isolation=options.network_isolation,
                enable_inter_container_traffic_encryption=options.encrypt_traffic,
                **_given(vpc_config=self._vpc()),
            ),
            "environment": self._environment(spec),
            "tags": self._tags(spec, shapes.Tag),
        }

    def _channel(self, name: str, key: str) -> Channel:
        source = S3DataSource(
            s3_data_type="S3Prefix", s3_uri=self._prefix(key), s3_data_distribution_type="FullyReplicated"
        )
        return Channel(channel_name=name, data_source=DataSource(s3_data_source=source), input_mode="File")

    def _input(self, name: str, key: str, path: str) -> ProcessingInput:
        source = ProcessingS3Input(
            s3_uri=self._prefix(key),
            local_path=path,
            s3_data_type="S3Prefix",
            s3_input_mode="File",
            s3_data_distribution_type="FullyReplicated",
        )
        return ProcessingInput(input_name=name, s3_input=source)

    def _environment(self, spec: JobSpec) -> dict[str, str]:
        """The variables of every job, the user's own, and the names of secrets."""
        variables = job_variables(spec) | {"AWS_REGION": self._region, "AWS_DEFAULT_REGION": self._region}
        tracking = self._settings.tracking
        if spec.kind is not JobKind.PROCESSING and tracking.api_key_secret and tracking.tracker in _KEY_VARIABLES:
            variables[SECRET_PREFIX + _KEY_VARIABLES[tracking.tracker]] = tracking.api_key_secret
        return variables | pairs_of(self._options.environment)

    def _tags(self, spec: JobSpec, tag: type[Any]) -> list[Any]:
        """The tags of a job. The SDK has two classes of that name, and each of its resources takes one of them."""
        own = {
            "mlpipe:experiment": self._settings.experiment.experiment_name,
            "mlpipe:run": str(spec.run_num or "none"),
            "mlpipe:job": spec.name,
            ATTEMPT_TAG: spec.attempt,
        }
        tags = pairs_of(self._options.tags) | own
        return [tag(key=key, value=value) for key, value in tags.items()]

    def _vpc(self) -> VpcConfig | None:
        if not self._options.subnets:
            return None
        return VpcConfig(subnets=list(self._options.subnets), security_group_ids=list(self._options.security_group_ids))

    def _prefix(self, key: str) -> str:
        return f"{self._storage.locate(key)}/"


def _given(**members: Any) -> dict[str, Any]:
    """The members that have a value: the others are left out of the request."""
    return {name: value for name, value in members.items() if value}
