"""A tuning job of SageMaker, seen through to its end: its trials are told of one by one as they end."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from mlpipe.backends.base import JobState, JobStatus, NoteListener
from mlpipe.backends.sagemaker.logs import CloudWatchLogs
from mlpipe.backends.sagemaker.states import training_status
from mlpipe.backends.sagemaker.trials import has_ended, list_trials, record_of
from mlpipe.errors import JobError
from mlpipe.manifest import MANIFEST, digest
from mlpipe.specs import JobKind, JobSpec, TrialRecord, TrialState
from mlpipe.storage import Storage
from mlpipe.tuning.progress import Progress


class SagemakerTuner:
    """Follows one tuning job; `describe` is the backend's, which waits for a service that is busy."""

    def __init__(
        self,
        client: Any,
        logs: CloudWatchLogs,
        storage: Storage,
        describe: Callable[[], JobStatus],
        model_of: Callable[[Mapping[str, Any]], str],
    ) -> None:
        self._client = client
        self._logs = logs
        self._storage = storage
        self._describe = describe
        self._model_of = model_of

    def run(
        self, spec: JobSpec, name: str, listener: NoteListener, poll_seconds: Callable[[float], float]
    ) -> tuple[TrialRecord, ...]:
        """Every trial, in the order of their creation; JobError where the tuning job failed or was stopped."""
        assert spec.tuning is not None
        progress = Progress(spec.name, spec.tuning.max_jobs, spec.tuning.max_parallel_jobs, spec.tuning.maximizes)
        records: dict[str, TrialRecord] = {}
        begun = time.monotonic()
        listener.note(f"{spec.name}: tuning job {name}")
        while True:
            status = self._describe()
            for number, summary in enumerate(list_trials(self._client, name), start=1):
                trial = summary["TrainingJobName"]
                if trial not in records and has_ended(summary):
                    records[trial] = self._record(spec, name, number, summary)
                    listener.note(progress.told(records[trial]))
            if status.has_ended:
                break
            time.sleep(poll_seconds(time.monotonic() - begun))
        if status.state is JobState.FAILED:
            raise JobError(f"job {spec.name}: {status.failure.partition(': ')[2]}", hint=f"tuning job: {name}")
        return tuple(sorted(records.values(), key=lambda record: record.number))

    def _record(self, spec: JobSpec, name: str, number: int, summary: Mapping[str, Any]) -> TrialRecord:
        """A trial that has ended; its log is stored beside those of the run's other jobs."""
        assert spec.tuning is not None
        trial = summary["TrainingJobName"]
        described = self._client.describe_training_job(TrainingJobName=trial)
        lines, _ = self._logs.read(JobKind.TRAINING, trial, "")
        log = spec.log.removesuffix(".log") + f"-{number:03d}.log"
        self._storage.write(log, "".join(f"{line}\n" for line in lines).encode())
        output = self._model_of(described)
        status = training_status(described, output)
        machine = {**status.machine, "tuning_job": name}
        record = record_of(number, summary, lines, spec.tuning, output=output, machine=machine)
        if record.state is not TrialState.COMPLETED:
            return record
        return replace(record, manifest_sha256=digest(self._storage.read(f"{output}/{MANIFEST}")))
