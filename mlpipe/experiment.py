"""The composition root: from settings to Tasks to results. Every command calls one function of this file."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

from mlpipe.backends import LocalBackend
from mlpipe.catalog import find_run, newest_committed_run, prepared_of, recorded_threads, settings_of
from mlpipe.errors import Interrupted, MlpipeError
from mlpipe.runs import ExperimentTree, RunTree
from mlpipe.settings import Settings
from mlpipe.settings.packages import check_tracker
from mlpipe.steps.claim import ClaimRun
from mlpipe.steps.infer import InferModels
from mlpipe.steps.keys import PREPARED, RECONCILED, RUN, SUMMARY, trained
from mlpipe.steps.outcomes import RunSummary, Snapshot, failure_of
from mlpipe.steps.prepare import Prepare
from mlpipe.steps.preview import Outlook, Step
from mlpipe.steps.reconcile import Reconcile
from mlpipe.steps.report import Report
from mlpipe.steps.state import write_state
from mlpipe.steps.train import TrainModel
from mlpipe.steps.verify import Verification, verify_run
from mlpipe.steps.workplace import QuietListener, StepListener, Workplace
from mlpipe.storage import LocalStorage, Storage
from mlpipe.storage.claims import is_run_committed, own_run
from mlpipe.storage.units import is_committed
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
        raise MlpipeError(
            f"[EXPERIMENT] STORAGE = {place} takes the package boto3", hint="pip install 'mlpipe[s3]'"
        ) from error
    return S3Storage(place, settings.s3)


def tree_of(settings: Settings) -> ExperimentTree:
    """The paths of the experiment that the settings name."""
    return ExperimentTree(settings.experiment.experiment_name)


def reconcile(settings: Settings, listener: StepListener, *, force: bool = False) -> Snapshot:
    """Collect the labelled rows; with `force` even where nothing has changed."""
    place = _workplace(settings, listener)
    return _execute(place, [Reconcile(place, force=force)])[RECONCILED]


def prepare(settings: Settings, listener: StepListener) -> Snapshot:
    """Split and encode the rows, after collecting them where that is needed."""
    place = _workplace(settings, listener)
    return _execute(place, [Reconcile(place), Prepare(place)])[PREPARED]


def train(settings: Settings, listener: StepListener, *, new: bool = False) -> TrainedRun:
    """Train and export every model, without opening the test set.

    Raises the error of the models that failed, after all others were trained.
    """
    place = _workplace(settings, listener)
    names = settings.experiment.model_names
    pipeline = _execute(place, [*_until_trained(place, new=new)])
    claim = pipeline[RUN]
    failed = tuple(pipeline[trained(name)] for name in names if not pipeline[trained(name)].is_published)
    published = tuple(name for name in names if pipeline[trained(name)].is_published)
    write_state(place, claim, "trained" if not failed else "partial")
    if error := failure_of(claim.run.run_num, failed, is_any_done=bool(published)):
        raise error
    return TrainedRun(claim.run.run_num, place.storage.locate(claim.run.root), published)


def run(settings: Settings, listener: StepListener, *, new: bool = False) -> RunSummary:
    """Everything: reconcile, prepare, train, infer, report. `new` claims a new number even where a run could be
    resumed.

    Models that failed are named in the summary (`RunSummary.failure`); anything else that goes wrong is raised.
    """
    place = _workplace(settings, listener)
    return _execute(place, _all_steps(place, new=new))[SUMMARY]


def plan(settings: Settings, *, new: bool = False) -> list[PlannedTask]:
    """What `run` would do: its tasks in order, their decisions, and the jobs that they would start; nothing happens."""
    place, outlook, planned = _workplace(settings, QuietListener()), Outlook(), []
    for stage, tasks in enumerate(get_task_plan(_all_steps(place, new=new)), start=1):
        for task in tasks:
            preview = cast(Step, task).preview(outlook)
            job = preview.job
            request = place.backend.plan(job) if job else None
            name = job.name if job else None
            planned.append(PlannedTask(stage, preview.task, preview.decision, name, request))
    return planned


def infer(settings: Settings, listener: StepListener, run_num: int | None) -> RunSummary | Verification:
    """Run a run's models on its test set, with the run's own settings and functions.

    An uncommitted run is completed by this; a committed one is computed again and verified. Without `run_num` the
    newest committed run is taken.
    """
    storage, tree = storage_of(settings), tree_of(settings)
    found = newest_committed_run(storage, tree) if run_num is None else find_run(storage, tree, run_num)
    place = _workplace_of_run(settings, listener, storage, found)
    prepared = prepared_of(storage, tree, found)
    names = place.settings.experiment.model_names
    if is_run_committed(storage, found):
        with _interruptible(f"`mlpipe infer {settings.source.name} --run-num {found.run_num}` starts it again"):
            return verify_run(place, found, prepared, names)
    published = [name for name in names if is_committed(storage, found.model(name))]
    if len(published) < len(names):
        missing = ", ".join(name for name in names if name not in published)
        raise MlpipeError(
            f"run {found.run_num} is not trained: {missing} has no exported model",
            hint=f"`mlpipe run {settings.source.name}` with the run's settings and functions resumes it",
        )
    claim = own_run(storage, found)
    snapshot = Snapshot(prepared, prepared.key.rpartition("/")[2], True, "it belongs to the run")
    pipeline = Pipeline({PREPARED: snapshot, RUN: claim})
    tasks = [*_trainings(place), InferModels(place, names), Report(place)]
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
    """The trainings: side by side where there are slots, else one after the other in the order of MODEL_NAMES."""
    names = place.settings.experiment.model_names
    before = [None, *names[:-1]] if place.settings.local.max_parallel_jobs == 1 else [None] * len(names)
    return [TrainModel(place, name, after) for name, after in zip(names, before, strict=True)]


def _workplace(settings: Settings, listener: StepListener) -> Workplace:
    """Check what can be checked before any job starts, and put the parts together."""
    check_tracker(settings.tracking)
    storage = storage_of(settings)
    source = read_user_source(settings.path(settings.experiment.user_functions))
    return Workplace(settings, source, storage, _backend(settings, storage), listener)


def _backend(settings: Settings, storage: Storage) -> LocalBackend:
    return LocalBackend(storage, settings.root, settings.local.max_parallel_jobs)


def _workplace_of_run(settings: Settings, listener: StepListener, storage: Storage, run: RunTree) -> Workplace:
    """The workplace of an existing run: its own resolved settings, threads and copy of the user's code.

    Only [LOCAL], which limits jobs, is the command's.
    """
    own = replace(settings_of(storage, run), local=settings.local)
    if threads := recorded_threads(storage, run):
        own = replace(own, training=own.training.model_copy(update={"threads": threads}))
    package = Path(own.experiment.user_functions).name
    with tempfile.TemporaryDirectory() as folder:
        storage.fetch(run.user_functions, Path(folder) / "user_functions")
        source = read_user_source(Path(folder) / "user_functions" / package)
    return Workplace(own, source, storage, _backend(settings, storage), listener)


def _execute(place: Workplace, tasks: Sequence[Task], pipeline: Pipeline | None = None) -> Pipeline:
    """Run the tasks; whatever ends them early is written to the state of the run that they claimed, if they did."""
    pipeline = pipeline or Pipeline()
    with _interruptible("the same command, without --new, continues where it was stopped"):
        try:
            return execute_task_plan(get_task_plan(tasks), pipeline)
        except BaseException as error:
            place.backend.stop_all()  # those of other models, in threads that nobody waits for
            if RUN in pipeline:
                status = "interrupted" if isinstance(error, KeyboardInterrupt) else "failed"
                write_state(place, pipeline[RUN], status, str(error))
            raise


@contextlib.contextmanager
def _interruptible(hint: str) -> Iterator[None]:
    try:
        yield
    except KeyboardInterrupt as error:
        raise Interrupted("interrupted; every job was ended", hint=hint) from error
