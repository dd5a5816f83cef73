"""The SageMaker backend: every job a Processing or Training job, which goes on when the command ends."""

from __future__ import annotations

import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from sagemaker.core.resources import Tag

from mlpipe.backends.base import JobState, JobStatus, NoteListener, WorstCase
from mlpipe.backends.sagemaker.cost import check_cost, worst_case
from mlpipe.backends.sagemaker.errors import THROTTLED, reported
from mlpipe.backends.sagemaker.kinds import KINDS
from mlpipe.backends.sagemaker.limits import check_limits
from mlpipe.backends.sagemaker.logs import CloudWatchLogs
from mlpipe.backends.sagemaker.machines import vcpus
from mlpipe.backends.sagemaker.requests import ATTEMPT_TAG, Request, Requests
from mlpipe.backends.sagemaker.states import STATES, processing_status, training_status, tuning_status
from mlpipe.backends.sagemaker.tuner import SagemakerTuner
from mlpipe.errors import CloudError, StorageError
from mlpipe.settings import Settings
from mlpipe.specs import JobKind, JobSpec, TrialRecord
from mlpipe.storage import Storage
from mlpipe.storage.s3_errors import code_of

FASTEST_POLL, SLOWEST_POLL = 0.5, 15.0
"""Seconds between two looks at a job: a twentieth of its age, within these bounds."""

PATIENCE = 300.0
"""Seconds for which a service that does not answer, or is too busy, counts as a job that goes on."""

TAIL = 5
"""Lines of the log that a failure without a report is told with."""

LATE_LINES = 5.0
"""Seconds for which the log of a failed job is waited for: it comes after the status."""


class SagemakerBackend:
    """Runs jobs in SageMaker; `session` says as whom and where."""

    def __init__(self, settings: Settings, storage: Storage, session: boto3.Session) -> None:
        config = Config(retries={"mode": "standard", "total_max_attempts": 3})  # a look is repeated anyway
        self._options = settings.sagemaker
        self._storage = storage
        self._session = session
        self._requests = Requests(settings, storage, session.region_name)
        self._client = session.client("sagemaker", config=config)
        self._logs = CloudWatchLogs(session.client("logs", config=config))
        self._jobs: dict[str, JobSpec] = {}
        self._ended: dict[str, JobStatus] = {}
        self._answered: dict[str, float] = {}
        self._is_closed = False
        self._starting = threading.Lock()
        """Held while a job is created: none is once all were left."""

    @property
    def is_remote(self) -> bool:
        """True: jobs belong to the service."""
        return True

    def threads(self, kind: JobKind, /) -> int:
        """The virtual CPUs of the job's machine."""
        options = self._options
        return vcpus(options.processing_instance_type if kind is JobKind.PROCESSING else options.instance_type)

    def worst_case(self, specs: Sequence[JobSpec], /) -> WorstCase:
        """The machines of all jobs, each until MAX_RUNTIME."""
        return worst_case(specs, self._options)

    def check(self, specs: Sequence[JobSpec], /) -> None:
        """Hold every request against the service's limits, and their worst case against those of the settings."""
        for spec in specs:
            check_limits(self._requests.of(spec))
        check_cost(self.worst_case(specs), self._options)

    def is_running(self, handle: str, /) -> bool:
        """What the service says."""
        kind, _, name = handle.partition("/")
        with reported(f"look at {name}"):
            try:
                found = KINDS[JobKind(kind)].describe(self._client, name)
            except ClientError as error:
                if _is_missing(error):
                    return False
                raise
        return STATES[KINDS[JobKind(kind)].status(found)] is JobState.IN_PROGRESS

    def plan(self, spec: JobSpec) -> Mapping[str, Any]:
        """The body of the request."""
        return self._requests.of(spec).body()

    def handle_of(self, spec: JobSpec) -> str:
        """`<kind>/<name>`."""
        return f"{spec.kind}/{self._requests.of(spec).name}"

    def submit(self, spec: JobSpec) -> str:
        """Create the job; where it is there already, because a reply was lost, it is taken for what it is."""
        request = self._requests.of(spec)
        check_limits(request)
        handle = f"{spec.kind}/{request.name}"
        with self._starting:
            if self._is_closed:
                raise CloudError(f"{spec.name} was not started any more: every job was left")
            with reported(f"start {request.name}"):
                self._create(request, spec)
        self._jobs[handle] = spec
        return handle

    def find(self, spec: JobSpec, /) -> JobStatus | None:
        """The status of this attempt's job; None where it was never created."""
        handle = self.handle_of(spec)
        try:
            status = self._look(handle, spec)
        except ClientError as error:
            if _is_missing(error):
                return None
            raise
        self._jobs[handle] = spec
        if status.has_ended and not self._storage.exists(spec.log):  # it ended when no command looked
            return self._kept(handle, status)
        return status

    def describe(self, handle: str) -> JobStatus:
        """The job's status; while the service is too busy to say, or out of reach, a job goes on."""
        if handle in self._ended:
            return self._ended[handle]
        name = handle.partition("/")[2]
        try:
            status = self._look(handle, self._jobs[handle])
        except (ClientError, BotoCoreError) as error:
            if self._is_worth_waiting(handle, error):
                return JobStatus(JobState.IN_PROGRESS)
            with reported(f"look at {name}"):
                raise
        self._answered[handle] = time.monotonic()
        if status.has_ended:
            self._ended[handle] = status = self._kept(handle, status)
        return status

    def logs(self, handle: str, position: str) -> tuple[list[str], str]:
        """The lines in CloudWatch behind `position`."""
        kind, _, name = handle.partition("/")
        try:
            return self._logs.read(JobKind(kind), name, position)
        except (ClientError, BotoCoreError) as error:
            if self._is_worth_waiting(handle, error):
                return [], position
            with reported(f"read the log of {name}"):
                raise

    def stop(self, handle: str) -> None:
        """Ask the service to end the job, and wait until it has."""
        kind, _, name = handle.partition("/")
        with reported(f"stop {name}"):
            try:
                KINDS[JobKind(kind)].stop(self._client, name)
            except ClientError as error:
                if code_of(error) != "ValidationException":  # it has ended meanwhile
                    raise
        while self.is_running(handle):
            time.sleep(FASTEST_POLL)

    def tune(self, spec: JobSpec, handle: str, listener: NoteListener) -> tuple[TrialRecord, ...]:
        """Follow the tuning job; Ctrl-C asks the service to stop it, since each of its trials costs money."""
        name = handle.partition("/")[2]
        tuner = SagemakerTuner(self._client, self._logs, self._storage, lambda: self.describe(handle), self._model_of)
        try:
            with reported(f"follow {name}"):
                return tuner.run(spec, name, listener, self.poll_seconds)
        except BaseException:
            self.leave(handle)
            raise

    def leave(self, handle: str) -> None:
        """Ask the service to stop a tuning job; any other goes on."""
        kind, _, name = handle.partition("/")
        if kind == JobKind.TUNING and self.is_running(handle):
            with reported(f"stop {name}"):
                KINDS[JobKind.TUNING].stop(self._client, name)

    def leave_all(self) -> str:
        """Create no more jobs, and stop those that tune."""
        with self._starting:
            self._is_closed = True
        tunings = [handle for handle in self._jobs if handle.startswith(f"{JobKind.TUNING}/")]
        for handle in tunings:
            self.leave(handle)
        return "the jobs in SageMaker go on" if not tunings else "the service was asked to stop tuning"

    def poll_seconds(self, age: float, /) -> float:
        """Often at first, for a job that ends at once; ever more seldom, for the sake of the account's rate limits."""
        return min(max(age / 20, FASTEST_POLL), SLOWEST_POLL)

    def _create(self, request: Request, spec: JobSpec) -> None:
        try:
            KINDS[spec.kind].resource.create(
                **request.arguments, session=self._session, region=self._session.region_name
            )
        except ClientError as error:
            # After a lost reply botocore asks again: the name is taken, by our own job. The resource layer also looks
            # at the job that it has created, which is no reason to fail where the service is busy.
            if error.operation_name.startswith("Describe") or self._is_ours(error, request, spec):
                return
            raise

    def _is_ours(self, error: ClientError, request: Request, spec: JobSpec) -> bool:
        """Whether the name is taken by a job of this very attempt."""
        if code_of(error) != "ResourceInUse":
            return False
        arn = KINDS[spec.kind].arn(KINDS[spec.kind].describe(self._client, request.name))
        tags = Tag.get_all(resource_arn=arn, session=self._session, region=self._session.region_name)
        return any(tag.key == ATTEMPT_TAG and tag.value == spec.attempt for tag in tags)

    def _look(self, handle: str, spec: JobSpec) -> JobStatus:
        found = KINDS[spec.kind].describe(self._client, handle.partition("/")[2])
        if spec.kind is JobKind.PROCESSING:
            return processing_status(found, spec.output)
        if spec.kind is JobKind.TRAINING:
            return training_status(found, self._model_of(found))
        best = found.get("BestTrainingJob", {}).get("TrainingJobName")
        trial = KINDS[JobKind.TRAINING].describe(self._client, best) if best else {}
        return tuning_status(found, self._model_of(trial))

    def _model_of(self, found: Mapping[str, Any]) -> str:
        """The storage key of the model, from the place that the service reports."""
        place = str(found.get("ModelArtifacts", {}).get("S3ModelArtifacts", "")).rstrip("/")
        if not place:
            return ""
        root = f"{self._storage.uri}/"
        if not place.startswith(root):
            raise StorageError(f"SageMaker put the model to {place}, which is not in {self._storage.uri}")
        return place.removeprefix(root)

    def _kept(self, handle: str, status: JobStatus) -> JobStatus:
        """Put the log, and what a training leaves beside its model, to their places in the run.

        A failure that the job did not report itself gets the end of the log.
        """
        spec, name = self._jobs[handle], handle.partition("/")[2]
        if spec.kind is JobKind.TUNING:  # its trials have logs
            return status
        lines = self._whole_log(handle, is_awaited=status.state is JobState.FAILED)
        self._storage.write(spec.log, "".join(f"{line}\n" for line in lines).encode())
        beside = f"{spec.attempt}/{name}/output/data"
        if spec.output_data and self._storage.files(beside):
            with tempfile.TemporaryDirectory() as folder:
                self._storage.fetch(beside, Path(folder) / "data")
                self._storage.store(Path(folder) / "data", spec.output_data)
        if status.failure.startswith("JobError: ") and lines:
            tail = "\n  ".join(["its log ends:", *(f"  {line}" for line in lines[-TAIL:])])
            return replace(status, failure=f"{status.failure}\n  {tail}")
        return status

    def _whole_log(self, handle: str, *, is_awaited: bool) -> list[str]:
        deadline = time.monotonic() + LATE_LINES
        lines, _ = self.logs(handle, "")
        while is_awaited and not lines and time.monotonic() < deadline:
            time.sleep(FASTEST_POLL)
            lines, _ = self.logs(handle, "")
        return lines

    def _is_worth_waiting(self, handle: str, error: ClientError | BotoCoreError) -> bool:
        """Whether the service may soon answer again: it is busy, in trouble or out of reach, and not for long yet."""
        if isinstance(error, ClientError):
            status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
            if code_of(error) not in THROTTLED and status < 500:
                return False
        last = self._answered.setdefault(handle, time.monotonic())
        return time.monotonic() - last < PATIENCE


def _is_missing(error: ClientError) -> bool:
    """Whether a description was refused because there is no such job; the service has no code of its own for it."""
    message = str(error.response.get("Error", {}).get("Message", ""))
    return code_of(error) in ("ResourceNotFound", "ValidationException") and "not" in message
