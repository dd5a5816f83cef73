"""Tuning on this machine: trials are training jobs of the local backend, drawn by Optuna, several side by side.

The record of every trial that has ended is stored at once: a tuning that is killed goes on with the trials it lacks.
Trials export their models until one has shown that this works; those after it leave that to the best one.
"""

from __future__ import annotations

import contextvars
import json
import threading
import time
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace

from mlpipe.backends.base import Backend, JobResult, JobStatus, NoteListener, follow_job
from mlpipe.backends.local.finalist import deferring, export, forget, has_checkpoint, is_exported
from mlpipe.errors import ExportError, JobError, MlpipeError, UserFunctionError
from mlpipe.manifest import MANIFEST, digest, to_bytes
from mlpipe.specs import JobKind, JobSpec, TrialRecord, TrialState, TuningSpec
from mlpipe.storage import Storage
from mlpipe.tuning.early_stopping import has_fallen_behind
from mlpipe.tuning.objective import ObjectivePattern
from mlpipe.tuning.progress import Progress, best_of
from mlpipe.tuning.sampling import Sampler, grid
from mlpipe.tuning.space import parse_space


class FellBehind(Exception):
    """A trial is stopped: it is worse than the others were."""


@dataclass
class _Watcher:
    """Reads the log of one trial: every objective goes to `curve`, and a hopeless trial ends."""

    tuner: LocalTuner
    number: int
    curve: list[float] = field(default_factory=list)

    def started(self, spec: JobSpec, log: str) -> None:
        """Nothing."""

    def line(self, _spec: JobSpec, text: str) -> None:
        value = self.tuner.pattern.value_in(text)
        if value is None:
            return
        self.curve.append(value)
        if self.tuner.is_hopeless(self.number, self.curve):
            raise FellBehind

    def ended(self, spec: JobSpec, status: JobStatus, seconds: float) -> None:
        """Nothing."""


class LocalTuner:
    """One tuning: draws, runs and records trials until there are enough."""

    def __init__(self, backend: Backend, storage: Storage, spec: JobSpec, listener: NoteListener) -> None:
        assert spec.tuning is not None
        self.pattern = ObjectivePattern(spec.tuning.regex, spec.tuning.objective)
        self._backend, self._storage, self._spec, self._listener = backend, storage, spec, listener
        self._tuning: TuningSpec = spec.tuning
        self._records = _stored(storage, spec)
        self._sampler = Sampler(spec.tuning, self._records)
        self._curves = [record.curve for record in self._records if record.state is not TrialState.FAILED]
        self._wanted = _num_trials(spec.tuning)
        self._is_exportable = any(is_exported(storage, record) for record in self._records)
        self._asked: dict[int, int] = {}
        """The sampler's number of each trial that is under way."""
        self._next = max((record.number for record in self._records), default=0) + 1
        self._progress = Progress(spec.name, self._wanted, spec.tuning.max_parallel_jobs, spec.tuning.maximizes)
        for record in self._records:
            self._progress.told(record)
        self._progress.failures_in_a_row = 0  # another command may have better luck
        self._error_class: type[MlpipeError] = JobError
        self._begun = time.monotonic()
        self._running: list[str] = []
        self._lock = threading.Lock()
        self._is_over = threading.Event()

    def run(self) -> tuple[TrialRecord, ...]:
        """Every trial of the tuning, those of before included, in the order of their numbers.

        The best one has its exported model. Raises JobError where MAX_FAILURES trials in a row have failed. Whatever
        interrupts the waiting ends the trials.
        """
        if self._records:
            self._listener.note(f"{self._spec.name}: {len(self._records)} trials were done before")
        if not self._storage.exists(_end_of_trials(self._spec)):
            self._run_trials()
        self._export_best()
        return tuple(sorted(self._records, key=lambda record: record.number))

    def _run_trials(self) -> None:
        """Run all trials that are wanted; once they have ended, no later command starts another."""
        with ThreadPoolExecutor(self._tuning.max_parallel_jobs, "trial") as pool:
            workers: list[Future[None]] = [
                pool.submit(contextvars.copy_context().run, self._work) for _ in range(self._tuning.max_parallel_jobs)
            ]
            try:
                for worker in workers:
                    worker.result()
            except BaseException:
                self._end_trials()
                raise
        self._storage.write(_end_of_trials(self._spec), b"")

    def _export_best(self) -> None:
        """Run the best trial's job once more where it has left out the export; one that cannot be exported has failed.

        Hyperparameters may shape a model: that one trial could be exported does not say that all can.
        """
        failures = 0
        while (best := self._best()) is not None and not is_exported(self._storage, best):
            spec = _trial_spec(self._spec, best.number, dict(best.hyperparameters))
            is_kept = has_checkpoint(self._storage, spec.attempt)
            what = "exporting" if is_kept else "training again and exporting"
            self._listener.note(f"{self._spec.name}: {what} the model of trial {best.number}")
            try:
                told = export(self._backend, self._storage, spec, best)
            except (UserFunctionError, ExportError) as error:
                self._listener.note(f"{self._spec.name}: trial {best.number} cannot be exported: {error}")
                told = replace(best, state=TrialState.FAILED, error=str(error), output="", manifest_sha256="")
                self._store(told)
                self._error_class, failures = type(error), failures + 1
            self._records[self._records.index(best)] = told
            if failures >= self._tuning.max_failures:
                raise self._too_many_failures(failures, told)

    def _best(self) -> TrialRecord | None:
        return best_of(tuple(self._records), maximizes=self._tuning.maximizes)

    def _end_trials(self) -> None:
        """Start no more trials, and end those that run; jobs of other models go on."""
        self._is_over.set()
        with self._lock:
            running = list(self._running)
        for handle in running:
            self._backend.leave(handle)

    def _submit(self, spec: JobSpec) -> str:
        """Start a trial so that it can be ended, too."""
        handle = self._backend.submit(spec)
        with self._lock:
            self._running.append(handle)
        if self._is_over.is_set():
            self._backend.leave(handle)
        return handle

    def is_hopeless(self, number: int, curve: Sequence[float]) -> bool:
        """Whether a trial is to be stopped after the last value of its curve."""
        with self._lock:
            if self._tuning.strategy == "Hyperband":
                return self._sampler.is_hopeless(self._asked[number], curve)
            is_behind = has_fallen_behind(curve, self._curves, maximizes=self._tuning.maximizes)
            return self._tuning.stops_early and is_behind

    def _work(self) -> None:
        """Run one trial after the other; the first error of a worker ends the others."""
        try:
            while (drawn := self._draw()) is not None:
                self._finish(*drawn, self._trial(*drawn))
        except BaseException:
            self._is_over.set()
            raise

    def _draw(self) -> tuple[int, dict[str, str]] | None:
        """The number and the hyperparameters of the next trial; None where there is none to come."""
        with self._lock:
            if self._is_over.is_set() or self._is_enough():
                return None
            asked, values = self._sampler.ask()
            number, self._next = self._next, self._next + 1
            self._asked[number] = asked
            return number, values

    def _is_enough(self) -> bool:
        minutes = (time.monotonic() - self._begun) / 60
        return (
            len(self._records) + len(self._asked) >= self._wanted
            or 0 < self._tuning.max_minutes < minutes
            or self._progress.has_reached(self._tuning.target_value)
            or 0 < self._tuning.patience <= self._progress.trials_since_best
        )

    def _trial(self, number: int, values: dict[str, str]) -> TrialRecord:
        """Train with one set of hyperparameters; a trial that fails is an outcome."""
        spec, watcher = _trial_spec(self._spec, number, values), _Watcher(self, number)
        if self._is_exportable and not self._tuning.keeps_trials:
            spec = deferring(spec)
        begun = time.monotonic()
        state, error, result = TrialState.COMPLETED, "", None
        try:
            result = follow_job(self._backend, spec, self._submit(spec), self._storage.locate(spec.log), watcher)
        except FellBehind:
            state = TrialState.STOPPED
        except (JobError, UserFunctionError, ExportError) as caught:
            state, error, self._error_class = TrialState.FAILED, str(caught), type(caught)
        if state is TrialState.COMPLETED and not watcher.curve:
            state, error = TrialState.FAILED, "METRIC_REGEX found no objective in its log"
        record = TrialRecord(
            number=number,
            name=spec.name,
            state=state,
            hyperparameters=values,
            curve=tuple(watcher.curve),
            seconds=round(time.monotonic() - begun, 2),
            error=error,
        )
        return self._with_output(record, result)

    def _with_output(self, record: TrialRecord, result: JobResult | None) -> TrialRecord:
        if record.state is not TrialState.COMPLETED or result is None:
            return record
        manifest = digest(self._storage.read(f"{result.output}/{MANIFEST}"))
        return replace(record, output=result.output, manifest_sha256=manifest, machine=result.machine)

    def _finish(self, number: int, _values: dict[str, str], record: TrialRecord) -> None:
        """Store what came of a trial, unless everything was stopped meanwhile: then it is done again."""
        with self._lock:
            if self._is_over.is_set():
                return
            self._store(record)
            self._sampler.tell(self._asked.pop(number), record)
            self._running = [handle for handle in self._running if not handle.endswith(f"/{number:03d}")]
            before = self._best()
            self._records.append(record)
            self._is_exportable = self._is_exportable or is_exported(self._storage, record)
            for each in (before, record):
                if each is not None and each != self._best():
                    forget(self._storage, _trial_spec(self._spec, each.number, {}).attempt)
            if record.state is not TrialState.FAILED:
                self._curves.append(record.curve)
            self._listener.note(self._progress.told(record))
            if self._progress.failures_in_a_row >= self._tuning.max_failures:
                raise self._too_many_failures(self._progress.failures_in_a_row, record)

    def _too_many_failures(self, count: int, last: TrialRecord) -> MlpipeError:
        return self._error_class(
            f"{self._spec.name}: {count} trials in a row have failed, the last one with: {last.error}",
            hint="[TUNING] MAX_FAILURES is how many may",
        )

    def _store(self, record: TrialRecord) -> None:
        self._storage.write(f"{_folder(self._spec)}/{record.number}.json", to_bytes(record.to_json()))


def _num_trials(tuning: TuningSpec) -> int:
    """MAX_JOBS, or all combinations of a grid, which are not more."""
    if tuning.strategy != "Grid":
        return tuning.max_jobs
    return len(grid(parse_space(tuning.space)))


def _trial_spec(spec: JobSpec, number: int, values: dict[str, str]) -> JobSpec:
    """The training job of one trial: its own attempt and log, and its hyperparameters among those of all trials."""
    name, attempt = f"{spec.name}-{number:03d}", f"{spec.attempt}/trials/{number:03d}"
    return replace(
        spec,
        name=name,
        kind=JobKind.TRAINING,
        attempt=attempt,
        hyperparameters={**spec.hyperparameters, **values},
        checkpoints=None,
        output_data=f"{spec.output_data}/{number:03d}" if spec.output_data else None,
        log=spec.log.removesuffix(".log") + f"-{number:03d}.log",
        tuning=None,
    )


def _folder(spec: JobSpec) -> str:
    return f"{spec.attempt}/finished"


def _end_of_trials(spec: JobSpec) -> str:
    """What is there once all trials have ended, even if their best cannot be exported."""
    return f"{spec.attempt}/trials_have_ended"


def _stored(storage: Storage, spec: JobSpec) -> list[TrialRecord]:
    """The trials that an earlier command has finished; what others left half-done is removed."""
    folder = _folder(spec)
    names = [name for name in storage.files(folder) if name.endswith(".json")]
    records = [TrialRecord.from_json(json.loads(storage.read(f"{folder}/{name}"))) for name in names]
    finished = {f"{record.number:03d}" for record in records}
    for name in storage.folders(f"{spec.attempt}/trials"):
        if name not in finished:
            storage.delete(f"{spec.attempt}/trials/{name}")
    return sorted(records, key=lambda record: record.number)
