"""Which backend the settings ask for, checked as far as that costs nothing."""

from __future__ import annotations

from dataclasses import replace

from mlpipe.backends.base import Backend
from mlpipe.backends.local.backend import LocalBackend
from mlpipe.backends.local.forkserver import ForkserverLauncher
from mlpipe.backends.local.launcher import SubprocessLauncher
from mlpipe.errors import MlpipeError, installation
from mlpipe.settings import Settings
from mlpipe.settings.packages import check_tracker
from mlpipe.storage import Storage

_OFFLINE_ACCOUNT, _OFFLINE_REGION = "123456789012", "us-east-1"


def backend_of(settings: Settings, storage: Storage, *, is_offline: bool = False) -> Backend:
    """The backend; SettingsError or CloudError where its jobs could not run. Offline, nobody is asked."""
    if settings.experiment.backend == "local":
        if not is_offline:
            check_tracker(settings.tracking)
        trials = settings.tuning.max_parallel_jobs if any(settings.tunables.values()) else 1
        # Forked jobs are for those of one process; and what compiles starts processes of its own.
        is_forked = not (settings.training.use_distributed or settings.training.compile)
        launcher = ForkserverLauncher() if is_forked and not is_offline else SubprocessLauncher()
        return LocalBackend(storage, settings.root, max(settings.local.max_parallel_jobs, trials), launcher)
    try:
        import boto3  # extras; half a second and two more of start-up

        from mlpipe.backends.sagemaker.backend import SagemakerBackend
        from mlpipe.backends.sagemaker.preflight import check_account, check_settings
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] not in ("boto3", "botocore", "sagemaker"):
            raise
        raise MlpipeError(
            f"[EXPERIMENT] BACKEND = sagemaker takes the package {error.name}", hint=installation("s3,sagemaker")
        ) from error
    check_settings(settings)
    if is_offline:
        session = boto3.Session("none", "none", region_name=_OFFLINE_REGION)  # else credentials are looked for
    else:
        session = boto3.Session()
        check_account(settings, session)
    return SagemakerBackend(settings, storage, session)


def with_placeholders(settings: Settings) -> Settings:
    """Settings with which a plan can be made without an account: what is missing is filled in, recognisably."""
    if settings.experiment.backend == "local":
        return settings
    experiment, options = settings.experiment, settings.sagemaker
    storage = experiment.storage if experiment.storage.startswith("s3://") else "s3://placeholder-bucket/experiments"
    image = f"{_OFFLINE_ACCOUNT}.dkr.ecr.{_OFFLINE_REGION}.amazonaws.com/placeholder:latest"
    given = {
        "role_arn": options.role_arn or f"arn:aws:iam::{_OFFLINE_ACCOUNT}:role/placeholder",
        "docker_image_path": options.docker_image_path or image,
    }
    return replace(
        settings,
        experiment=experiment.model_copy(update={"storage": storage}),
        sagemaker=options.model_copy(update=given),
    )
