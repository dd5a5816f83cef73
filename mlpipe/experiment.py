"""The composition root: from settings to Tasks to results. Every command calls one function of this file."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

from mlpipe.backends import Backend, WorstCase
from mlpipe.backends.choice import backend_of, with_placeholders
from mlpipe.catalog import find_run, newest_committed_run, prepared_of, recorded_threads, settings_of
from mlpipe.errors import Interrupted, MlpipeError, SettingsError, UsageError, installation
from mlpipe.runs import ExperimentTree, RunTree
from mlpipe.settings import Settings
from mlpipe.steps.claim import ClaimRun
from mlpipe.steps.infer import InferModels
from mlpipe.steps.keys import PREPARED, RECONCILED, RUN, SUMMARY, trained
from mlpipe.steps.outcomes import RunSummary, Snapshot, failure_of
from mlpipe.steps.prepare import Prepare
from mlpipe.steps.preview import Outlook, Step
from mlpipe.steps.reconcile import Reconcile
from mlpipe.steps.report import Report, require_majority
from mlpipe.steps.state import RunStatus, write_state
from mlpipe.steps.train import TrainModel
from mlpipe.steps.tune import TuneModel, assignments, best_hyperparameters
from mlpipe.steps.verify import Verification, verify_run
from mlpipe.steps.workplace import QuietListener, StepListener, Workplace
from mlpipe.storage import LocalStorage, Storage
from mlpipe.storage.claims import is_run_committed, own_run
from mlpipe.storage.empty import EmptyStorage
from mlpipe.storage.units import Unit, is_committed
from mlpipe.user_functions import read_user_source
from mlpipe.workflow import Pipeline, Task, execute_task_plan, get_task_plan


@dataclass(frozen=True)
class PlannedTask:
    """One Task of a plan: the stage at which it could run at the earliest, and what it would do.

    `request` is what the backend would be sent for its job.
    """

    stage: int
    task: str
    decision: str
    job: str | None
    request: Mapping[str, Any] | None


@dataclass(frozen=True)
class Plan:
    """What a command would do, and what its jobs may cost; None where jobs cost nothing."""

    tasks: list[PlannedTask]
    worst_case: WorstCase | None


@dataclass(frozen=True)
class TrainedRun:
    """What `train` leaves: a run whose models are published and whose test set is still unopened."""

    run_num: int
    location: str
    model_names: tuple[str, ...]


def storage_of(settings: Settings) -> Storage:
    """The storage that the settings name; MlpipeError where it takes a package that is not installed."""
    place = settings.experiment.storage
    if not place.startswith("s3://"):
        return LocalStorage(settings.path(place))
    try:
        from mlpipe.storage.s3 import S3Storage  # boto3 is an extra, and half a second of start-up
    except ModuleNotFoundError as error:
        if error.name not in ("boto3", "botocore", "s3transfer"):
            raise
        raise MlpipeError(f"[EXPERIMENT] STORAGE = {place} takes the package boto3", hint=installation("s3")) from error
    return S3Storage(place, settings.s3)


def tree_of(settings: Settings) -> ExperimentTree:
    """The paths of the experiment that the settings name."""
    return ExperimentTree(settings.experiment.experiment_name)


def reconcile(settings: Settings, listener: StepListener, *, force: bool = False) -> Snapshot:
    """Collect the labelled rows; with `force` even where nothing has changed."""
    place = _workplace(settings, listener)
    return _execute(place, _checked(place, [Reconcile(place, force=force)]))[RECONCILED]


def prepare(settings: Settings, listener: StepListener) -> Snapshot:
    """Split and encode the rows, after collecting them where that is needed."""
    place = _workplace(settings, listener)
    return _execute(place, _checked(place, [Reconcile(place), Prepare(place)]))[PREPARED]


def train(
    settings: Settings, listener: StepListener, *, new: bool = False, best_of_run: int | None = None
) -> TrainedRun:
    """Train and export every model, without opening the test set; with the best hyperparameters of a run, if given.

    Raises the error of the models that failed, after all others were trained; SettingsError where hyperparameters are
    left to be tuned.
    """
    if best_of_run is not None:
        settings = _with_best(settings, listener, best_of_run)
    if left := [f"{key.upper()} = {text}" for texts in settings.tunables.values() for key, text in texts.items()]:
        raise SettingsError(
            f"{settings.source.name}: training takes single values, and these are to be tuned: {'; '.join(left)}",
            hint="`mlpipe tune` searches for the best; `mlpipe train --from-best N` takes those of run N",
        )
    place = _workplace(settings, listener)
    names = settings.experiment.model_names
    pipeline = _execute(place, _checked(place, [*_until_trained(place, new=new)]))
    claim = pipeline[RUN]
    failed = tuple(pipeline[trained(name)] for name in names if not pipeline[trained(name)].is_published)
    published = tuple(name for name in names if pipeline[trained(name)].is_published)
    write_state(place, claim, "trained" if not failed else "partial")
    if error := failure_of(claim.run.run_num, failed, is_any_done=bool(published)):
        raise error
    return TrainedRun(claim.run.run_num, place.storage.locate(claim.run.root), published)


def tune(settings: Settings, listener: StepListener, *, new: bool = False) -> RunSummary:
    """Everything that `run` does; SettingsError where there is nothing to tune."""
    if not any(settings.tunables.values()):
        raise SettingsError(
            f"{settings.source.name}: no hyperparameter is to be tuned",
            hint="write an interval, LEARNING_RATE = 1e-5 -> 1e-3 log, or a list, BATCH_SIZE = 16, 32",
        )
    return run(settings, listener, new=new)


def _with_best(settings: Settings, listener: StepListener, run_num: int) -> Settings:
    """The settings with every tunable as a run has found it best; UsageError where there is none."""
    storage = storage_of(settings)
    if not any(settings.tunables.values()):
        raise UsageError(
            f"--from-best {run_num}: no hyperparameter of {settings.source.name} is to be tuned",
            hint="it takes the place of intervals and lists, as that run had them; write those, or leave it out",
        )
    found = find_run(storage, tree_of(settings), run_num)
    for name, tunables in settings.tunables.items():
        if tunables:
            best = best_hyperparameters(storage, found, name)
            settings = settings.tuned(name, best)
            listener.note(f"{name}: {assignments(best)}, as run {run_num} has found best")
    return settings


def run(settings: Settings, listener: StepListener, *, new: bool = False) -> RunSummary:
    """Everything: reconcile, prepare, train, infer, report. `new` claims a new number even where a run could be
    resumed.

    Models that failed are named in the summary (`RunSummary.failure`); anything else that goes wrong is raised.
    """
    place = _workplace(settings, listener)
    return _execute(place, _checked(place, _all_steps(place, new=new)))[SUMMARY]


def start(settings: Settings, listener: StepListener, *, new: bool = False) -> TrainedRun:
    """Collect and prepare the data, start as many trainings as may run side by side, and leave them to the backend.

    `resume` goes on from there. UsageError where the jobs of the backend end with the command.
    """
    place = _workplace(settings, listener)
    if not place.backend.is_remote:
        raise UsageError(
            f"--detach: the jobs of BACKEND = {settings.experiment.backend} end with the command",
            hint="leave --detach out; a run that was interrupted is resumed by the same command",
        )
    _checked(place, _all_steps(place, new=new))
    pipeline = _execute(place, [Reconcile(place), Prepare(place), ClaimRun(place, new=new)])
    claim = pipeline[RUN]
    started = _trainings(place)[: settings.limits.max_parallel_jobs]
    for training in started:
        training.start(pipeline)
    write_state(place, claim, "detached")
    names = settings.experiment.model_names[: len(started)]
    return TrainedRun(claim.run.run_num, place.storage.locate(claim.run.root), names)


def resume(settings: Settings, listener: StepListener, run_num: int) -> RunSummary:
    """Complete an uncommitted run with its own settings and functions; jobs that still run are taken up again."""
    storage, tree = storage_of(settings), tree_of(settings)
    found = find_run(storage, tree, run_num)
    if is_run_committed(storage, found):
        raise UsageError(f"run {run_num} is committed", hint=f"`mlpipe show {run_num}` prints it")
    prepared = _prepared_to_complete(storage, tree, found)
    return _complete(_workplace_of_run(settings, listener, storage, found), found, prepared)


def report(settings: Settings, run_num: int) -> tuple[str, ...]:
    """Write the report and the model cards of a run again; returns where they lie, the report first."""
    from mlpipe.report.writing import write_report  # templates, which other commands need not

    storage, tree = storage_of(settings), tree_of(settings)
    return write_report(storage, tree, find_run(storage, tree, run_num))


def find(settings: Settings, run_num: int) -> tuple[Storage, Backend, RunTree]:
    """A run, where it lies, and where its jobs run; UsageError where there is no such run."""
    storage = storage_of(settings)
    run = find_run(storage, tree_of(settings), run_num)
    return storage, backend_of(settings, storage), run


def plan(settings: Settings, *, new: bool = False, is_offline: bool = False) -> Plan:
    """What `run` would do: its tasks in order, their decisions, and the jobs that they would start; nothing happens.

    Offline, the storage is taken to be empty, what an account would tell has placeholders, and no network is used.
    """
    settings = with_placeholders(settings) if is_offline else settings
    place, outlook, planned, specs = _workplace(settings, QuietListener(), is_offline=is_offline), Outlook(), [], []
    for stage, tasks in enumerate(get_task_plan(_all_steps(place, new=new)), start=1):
        for task in tasks:
            preview = cast(Step, task).preview(outlook)
            job = preview.job
            request = place.backend.plan(job) if job else None
            name = job.name if job else None
            planned.append(PlannedTask(stage, preview.task, preview.decision, name, request))
            specs += [job] if job else []
    return Plan(planned, place.backend.worst_case(specs))


def infer(settings: Settings, listener: StepListener, run_num: int | None) -> RunSummary | Verification:
    """Run a run's models on its test set, with the run's own settings and functions.

    An uncommitted run is completed by this; a committed one is computed again and verified. Without `run_num` the
    newest committed run is taken.
    """
    storage, tree = storage_of(settings), tree_of(settings)
    found = newest_committed_run(storage, tree) if run_num is None else find_run(storage, tree, run_num)
    place = _workplace_of_run(settings, listener, storage, found)
    names = place.settings.experiment.model_names
    if is_run_committed(storage, found):
        try:
            return verify_run(place, found, prepared_of(storage, tree, found), names)
        except KeyboardInterrupt as error:
            again = f"`mlpipe infer {settings.source.name} --run-num {found.run_num}` starts it again"
            raise Interrupted(f"interrupted; {place.backend.leave_all()}", hint=again) from error
    prepared = _prepared_to_complete(storage, tree, found)
    published = [name for name in names if is_committed(storage, found.model(name))]
    if len(published) < len(names):
        missing = ", ".join(name for name in names if name not in published)
        raise MlpipeError(
            f"run {found.run_num} is not trained: {missing} has no exported model",
            hint=f"`mlpipe resume {found.run_num}` trains what is missing, and infers",
        )
    return _complete(place, found, prepared)


def _prepared_to_complete(storage: Storage, tree: ExperimentTree, run: RunTree) -> Unit:
    """The prepared snapshot of an uncommitted run; UsageError where this mlpipe cannot complete a run with it."""
    prepared = prepared_of(storage, tree, run)
    require_majority(run, prepared)
    return prepared


def _complete(place: Workplace, run: RunTree, prepared: Unit) -> RunSummary:
    """Take a run over, and do whatever it lacks."""
    claim = own_run(place.storage, run)
    snapshot = Snapshot(prepared, prepared.key.rpartition("/")[2], True, "it belongs to the run")
    pipeline = Pipeline({PREPARED: snapshot, RUN: claim})
    tasks = [*_trainings(place), InferModels(place, place.settings.experiment.model_names), Report(place)]
    try:
        _checked(place, tasks, Outlook(prepared=snapshot, run=run))
    except MlpipeError as error:
        write_state(place, claim, "failed", str(error))
        raise
    write_state(place, claim, "running")
    return _execute(place, tasks, pipeline)[SUMMARY]


def _all_steps(place: Workplace, *, new: bool) -> list[Step]:
    return [
        *_until_trained(place, new=new),
        InferModels(place, place.settings.experiment.model_names),
        Report(place),
    ]


def _until_trained(place: Workplace, *, new: bool) -> Iterator[Step]:
    yield Reconcile(place)
    yield Prepare(place)
    yield ClaimRun(place, new=new)
    yield from _trainings(place)


def _trainings(place: Workplace) -> list[TrainModel]:
    """The trainings: MAX_PARALLEL_JOBS side by side, each of the others after one of those before it."""
    names, together = place.settings.experiment.model_names, place.settings.limits.max_parallel_jobs
    before = [None] * together + list(names)
    return [
        (TuneModel if place.settings.tunables[name] else TrainModel)(place, name, after)
        for name, after in zip(names, before, strict=False)
    ]


def _workplace(settings: Settings, listener: StepListener, *, is_offline: bool = False) -> Workplace:
    """Check what can be checked before any job starts, and put the parts together."""
    storage = EmptyStorage(settings.experiment.storage) if is_offline else storage_of(settings)
    source = read_user_source(settings.path(settings.experiment.user_functions))
    return Workplace(settings, source, storage, backend_of(settings, storage, is_offline=is_offline), listener)


def _workplace_of_run(settings: Settings, listener: StepListener, storage: Storage, run: RunTree) -> Workplace:
    """The workplace of an existing run: its own resolved settings, threads and copy of the user's code.

    Only where jobs run and what limits them is the command's: BACKEND, [LOCAL] and [SAGEMAKER].
    """
    own = replace(settings_of(storage, run), local=settings.local, sagemaker=settings.sagemaker)
    own = replace(own, experiment=own.experiment.model_copy(update={"backend": settings.experiment.backend}))
    if threads := recorded_threads(storage, run):
        own = replace(own, training=own.training.model_copy(update={"threads": threads}))
    package = Path(own.experiment.user_functions).name
    with tempfile.TemporaryDirectory() as folder:
        storage.fetch(run.user_functions, Path(folder) / "user_functions")
        source = read_user_source(Path(folder) / "user_functions" / package)
    return Workplace(own, source, storage, backend_of(own, storage), listener)


def _checked(place: Workplace, steps: list[Step], outlook: Outlook | None = None) -> list[Step]:
    """The same steps, looked through before anything is paid for: no job may be refused, or cost too much, half-way."""
    if not place.backend.is_remote:
        return steps
    outlook = outlook or Outlook()
    previews = [cast(Step, task).preview(outlook) for stage in get_task_plan(steps) for task in stage]
    place.backend.check([preview.job for preview in previews if preview.job])
    return steps


def _execute(place: Workplace, tasks: Sequence[Task], pipeline: Pipeline | None = None) -> Pipeline:
    """Run the tasks; whatever ends them early is written to the state of the run that they claimed, if they did."""
    pipeline = pipeline or Pipeline()
    try:
        return execute_task_plan(get_task_plan(tasks), pipeline)
    except BaseException as error:
        left = place.backend.leave_all()  # those of other models, in threads that nobody waits for
        if RUN in pipeline:
            status: RunStatus = "interrupted" if isinstance(error, KeyboardInterrupt) else "failed"
            write_state(place, pipeline[RUN], status, str(error))
        if isinstance(error, KeyboardInterrupt):
            raise Interrupted(f"interrupted; {left}", hint=_way_back(place, pipeline)) from error
        raise


def _way_back(place: Workplace, pipeline: Pipeline) -> str:
    """What to type after an interruption."""
    again = "the same command, without --new, continues where it was stopped"
    if RUN in pipeline and place.backend.is_remote:
        number = pipeline[RUN].run.run_num
        return f"{again}, and so does `mlpipe resume {number}`; `mlpipe stop {number}` ends the jobs"
    return again
