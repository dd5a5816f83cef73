"""A training job from its start to its end, over as many attempts as its machines are taken away."""

from __future__ import annotations

import itertools
import time
from pathlib import Path

from aws.attempts import Attempt, Ending, Outcome
from aws.faults import INTERNAL_ERROR, NO_CAPACITY, FailJob, NoCapacity
from aws.jobs import TrainingJob
from aws.layout import Machine, lay_out, machines, training_files
from aws.objects import CheckpointSync, DataError, joined
from aws.platform import Platform


def run_training(platform: Platform, job: TrainingJob) -> None:
    """Run a job to its end, whatever it is; a defect of the fake ends the job, too, and is raised."""
    try:
        _run(platform, job)
    except DataError as error:
        job.finish("Failed", "Failed", str(error))
    finally:
        if not job.has_ended.is_set():
            job.finish("Failed", "Failed", INTERNAL_ERROR)


def _run(platform: Platform, job: TrainingJob) -> None:
    if platform.script.take(NoCapacity, job.name):
        if job.is_spot:
            job.finish("Stopped", "MaxWaitTimeExceeded")
        else:
            job.finish("Failed", "Failed", NO_CAPACITY)
        return
    left, outcome, hosts = _max_runtime(job), Outcome(Ending.STOPPED), []
    retries = job.request.get("RetryStrategy", {}).get("MaximumRetryAttempts", 0)
    for number in itertools.count(1):
        hosts = _machines(platform, job, number)
        begun = time.monotonic()
        outcome = _attempt(platform, job, hosts, left)
        left -= time.monotonic() - begun
        if outcome.ending is Ending.INTERRUPTED:
            job.enter("Interrupted", "Spot instances were taken back")
        elif outcome.ending is Ending.FAILED and outcome.reason == INTERNAL_ERROR and retries:
            retries -= 1
            job.enter("Restarting", "Trying again after an internal error")
        else:
            break
        job.enter("Starting", "Preparing the instances for training")
    _finish(platform, job, hosts, outcome)


def _max_runtime(job: TrainingJob) -> float:
    return float(job.request["StoppingCondition"].get("MaxRuntimeInSeconds", 86_400))


def _machines(platform: Platform, job: TrainingJob, attempt: int) -> list[Machine]:
    folder = platform.root / "training" / job.name / f"attempt-{attempt}"
    return machines(job.request["ResourceConfig"]["InstanceCount"], folder)


def _attempt(platform: Platform, job: TrainingJob, hosts: list[Machine], seconds: float) -> Outcome:
    fault = platform.script.find(FailJob, job.name)
    if fault is not None and fault.after_line is None:
        platform.script.happened(fault)
        return Outcome(Ending.FAILED, reason=fault.reason)
    job.enter("Downloading", "Downloading input data")
    syncs = [sync for machine in hosts for sync in _prepare(platform, job, machine)]
    if job.stop_asked.is_set():
        return Outcome(Ending.STOPPED)
    job.enter("Training", "Training image download completed. Training in progress.")
    return Attempt(platform, job, hosts, ["train"], seconds, syncs).run()


def _prepare(platform: Platform, job: TrainingJob, machine: Machine) -> list[CheckpointSync]:
    """Lay out a machine's folder and bring the inputs; returns what keeps its checkpoints in S3."""
    lay_out(machine, training_files(job, machine), ["input/data", "model", "output/data"])
    for channel in job.request.get("InputDataConfig", []):
        source, folder = channel["DataSource"]["S3DataSource"], machine.base / "input" / "data" / channel["ChannelName"]
        is_sharded = source.get("S3DataDistributionType") == "ShardedByS3Key"
        shard = (machine.index, len(machine.names)) if is_sharded else (0, 1)
        platform.objects.download(source["S3Uri"], folder, shard)
    config = job.request.get("CheckpointConfig")
    if config is None:
        return []
    sync = CheckpointSync(
        platform.objects, machine.inside(config.get("LocalPath", "/opt/ml/checkpoints")), config["S3Uri"]
    )
    sync.restore()
    return [sync]


def _finish(platform: Platform, job: TrainingJob, hosts: list[Machine], outcome: Outcome) -> None:
    if outcome.ending in (Ending.FAILED, Ending.CLOSED):
        job.finish("Failed", "Failed", outcome.reason or INTERNAL_ERROR)
        return
    job.enter("Uploading", "Uploading generated training model")
    has_failed = outcome.ending is Ending.EXITED and outcome.code != 0
    bases = [machine.base for machine in hosts if machine.base.exists()]
    _upload(platform, job, [base / "output" / "data" for base in bases], "data", "output.tar.gz")
    if has_failed:
        reason = f", exit code: {outcome.code}"
        job.finish("Failed", "Failed", f"AlgorithmError: {outcome.message('failure')}"[: 1024 - len(reason)] + reason)
        return
    _upload(platform, job, [base / "model" for base in bases], "model", "model.tar.gz")
    if outcome.ending is Ending.EXITED:
        job.finish("Completed", "Completed")
    else:
        job.finish("Stopped", "MaxRuntimeExceeded" if outcome.ending is Ending.TIMED_OUT else "Stopped")


def _upload(platform: Platform, job: TrainingJob, folders: list[Path], name: str, archive: str) -> None:
    """Upload a folder of all machines to one place, as files or as one archive."""
    config = job.request["OutputDataConfig"]
    target = joined(config["S3OutputPath"], job.name, "output")
    if config.get("CompressionType", "GZIP") == "NONE":
        for folder in folders:
            platform.objects.upload(folder, joined(target, name))
    elif any(any(folder.iterdir()) for folder in folders):
        platform.objects.upload_archive(folders, joined(target, archive))
