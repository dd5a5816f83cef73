"""A processing job from its start to its end."""

from __future__ import annotations

import time

from aws.attempts import Attempt, Ending, Outcome
from aws.faults import INTERNAL_ERROR, NO_CAPACITY, FailJob, NoCapacity
from aws.jobs import ProcessingJob
from aws.layout import Machine, lay_out, machines, processing_files
from aws.objects import DataError
from aws.platform import Platform

MAX_RUNTIME = 86_400


def run_processing(platform: Platform, job: ProcessingJob) -> None:
    """Run a job to its end, whatever it is; a defect of the fake ends the job, too, and is raised."""
    try:
        _run(platform, job)
    except DataError as error:
        job.end("Failed", str(error))
    finally:
        if not job.has_ended.is_set():
            job.end("Failed", INTERNAL_ERROR)


def _run(platform: Platform, job: ProcessingJob) -> None:
    if platform.script.take(NoCapacity, job.name):
        job.end("Failed", NO_CAPACITY)
        return
    fault = platform.script.find(FailJob, job.name)
    if fault is not None and fault.after_line is None:
        platform.script.happened(fault)
        job.end("Failed", fault.reason)
        return
    count = job.request["ProcessingResources"]["ClusterConfig"]["InstanceCount"]
    hosts = machines(count, platform.root / "processing" / job.name)
    for machine in hosts:
        _prepare(platform, job, machine)
    job.started = time.time()
    if job.stop_asked.is_set():
        job.end("Stopped")
        return
    seconds = job.request.get("StoppingCondition", {}).get("MaxRuntimeInSeconds", MAX_RUNTIME)
    arguments = job.request["AppSpecification"].get("ContainerArguments", [])
    _finish(platform, job, hosts, Attempt(platform, job, hosts, arguments, seconds).run())


def _prepare(platform: Platform, job: ProcessingJob, machine: Machine) -> None:
    outputs = job.request.get("ProcessingOutputConfig", {}).get("Outputs", [])
    folders = [machine.inside(entry["S3Output"]["LocalPath"]) for entry in outputs]
    lay_out(
        machine, processing_files(job, machine), ["output", *(str(path.relative_to(machine.base)) for path in folders)]
    )
    for entry in job.request.get("ProcessingInputs", []):
        source = entry["S3Input"]
        is_sharded = source.get("S3DataDistributionType") == "ShardedByS3Key"
        shard = (machine.index, len(machine.names)) if is_sharded else (0, 1)
        platform.objects.download(source["S3Uri"], machine.inside(source["LocalPath"]), shard)


def _finish(platform: Platform, job: ProcessingJob, hosts: list[Machine], outcome: Outcome) -> None:
    job.message = outcome.message("message")
    has_exited = outcome.ending is Ending.EXITED
    for entry in job.request.get("ProcessingOutputConfig", {}).get("Outputs", []):
        output = entry["S3Output"]
        if output["S3UploadMode"] == "Continuous" or (has_exited and outcome.code == 0):
            for machine in hosts:
                platform.objects.upload(machine.inside(output["LocalPath"]), output["S3Uri"])
    if has_exited and outcome.code == 0:
        job.end("Completed")
    elif has_exited:
        job.end("Failed", "AlgorithmError: See job logs for more information")
    elif outcome.ending in (Ending.STOPPED, Ending.TIMED_OUT):
        job.end("Stopped")
    else:
        job.end("Failed", outcome.reason or INTERNAL_ERROR)
