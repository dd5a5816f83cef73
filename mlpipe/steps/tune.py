"""The step tune: many trainings of one model, of which the best is published as if it had been the only one."""

from __future__ import annotations

import json
import math
import uuid
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from mlpipe.backends import JobResult
from mlpipe.catalog import find_run
from mlpipe.contract import JOB_CHANNEL, default_regex
from mlpipe.errors import (
    ExportError,
    IntegrityError,
    JobError,
    MlpipeError,
    SettingsError,
    UsageError,
    UserFunctionError,
    installation,
)
from mlpipe.manifest import MANIFEST, digest, write_manifest
from mlpipe.runs import RunTree
from mlpipe.settings import Settings
from mlpipe.specs import Channel, JobKind, JobSpec, ModelOutcome, TrialRecord, TuningSpec
from mlpipe.steps.keys import PREPARED, RUN
from mlpipe.steps.ownership import publish
from mlpipe.steps.preview import Outlook, Preview
from mlpipe.steps.state import record_job
from mlpipe.steps.train import TrainModel
from mlpipe.steps.workplace import Workplace
from mlpipe.storage import Storage
from mlpipe.storage.claims import Claim
from mlpipe.storage.units import Unit, is_committed, open_unit
from mlpipe.tuning.progress import best_of
from mlpipe.tuning.space import Categories
from mlpipe.workflow import Pipeline, cancelled


class TuneModel(TrainModel):
    """Tunes one model; what no trial can be made of is refused when this is made, before anything is started."""

    def __init__(self, place: Workplace, model_name: str, after: str | None = None) -> None:
        super().__init__(place, model_name, after)
        self._tuning = tuning_spec(place, model_name)

    @property
    def name(self) -> str:
        """The step and the model."""
        return f"TuneModel({self._model_name})"

    def preview(self, outlook: Outlook) -> Preview:
        """Whether the model would be tuned, and in how many trials."""
        place, run = self._place, outlook.run or self._place.tree.run(1)
        if is_committed(place.storage, run.model(self._model_name)):
            return Preview(self.name, "done before")
        snapshot = outlook.prepared.unit if outlook.prepared else place.pending(place.tree.prepared)
        tuning = self._tuning
        decision = f"tune {', '.join(tuning.space)}: {tuning.max_jobs} trials, {tuning.max_parallel_jobs} at a time"
        return Preview(self.name, decision, self._job(run, snapshot))

    def _outcome(self, pipeline: Pipeline) -> ModelOutcome:
        place, name, claim = self._place, self._model_name, pipeline[RUN]
        spec = self._job(claim.run, pipeline[PREPARED].unit)
        if is_committed(place.storage, claim.run.model(name)):
            self._clear(spec)
            place.listener.note(f"tune {name}: done before")
            return ModelOutcome(name)
        try:
            spec, trials = place.tune(spec)
            best = best_of(trials, maximizes=self._tuning.maximizes)
            if best is None:
                raise JobError(f"job {spec.name}: none of {len(trials)} trials has completed")
        except (JobError, UserFunctionError, ExportError) as error:
            if not cancelled():  # stopped together with everything else: no failure of its own
                place.listener.note(f"tune {name}: failed: {error}")
            return ModelOutcome(name, error=str(error), error_class=type(error).__name__)
        self._publish(claim, spec, trials, best)
        return ModelOutcome(name)

    def _publish(self, claim: Claim, spec: JobSpec, trials: tuple[TrialRecord, ...], best: TrialRecord) -> None:
        """Publish the record of all trials, and then the model of the best, which has to be the one recorded."""
        place, storage, run = self._place, self._place.storage, claim.run
        found = digest(storage.read(f"{best.output}/{MANIFEST}"))
        if found != best.manifest_sha256:
            raise IntegrityError(f"{storage.locate(best.output)} is not what trial {best.number} has made")
        key = f"{spec.attempt}/tuning"
        self._write_tuning(key, spec, trials, best)
        publish(storage, claim, key, run.tuning(self._model_name))
        publish(storage, claim, best.output, run.model(self._model_name))
        found = f"{self._tuning.objective} {best.objective:.4f} with {assignments(best.hyperparameters)}"
        place.listener.note(f"{spec.name}: the model of trial {best.number} is published: {found}")
        seconds = sum(trial.seconds for trial in trials) + best.machine.get("export_seconds", 0.0)
        machine = {**best.machine, "trials": len(trials)}
        billed = [trial.machine for trial in trials if "instance_type" in trial.machine]
        if billed and all("billable_seconds" in trial for trial in billed):  # no part of the sum is told as the whole
            machine["billable_seconds"] = sum(trial["billable_seconds"] for trial in billed)
        else:
            machine.pop("billable_seconds", None)
        result = JobResult(spec.name, spec.attempt, best.output, spec.threads, seconds, machine)
        record_job(place, claim, result, keeps_attempt=place.settings.tuning.keep_trials)
        storage.delete(run.checkpoints(self._model_name))

    def _write_tuning(self, key: str, spec: JobSpec, trials: tuple[TrialRecord, ...], best: TrialRecord) -> None:
        """The commit unit tuning/<model>: trials.jsonl, best.json, and plots."""
        from mlpipe.report.tuning_plots import save_tuning_plots  # matplotlib takes half a second

        storage = self._place.storage
        storage.delete(key)  # of a command that was killed here
        folder = storage.workspace(key)
        lines = "".join(f"{json.dumps(trial.to_json())}\n" for trial in trials)
        (folder / "trials.jsonl").write_text(lines, encoding="utf-8")
        document = _best_document(self._tuning, trials, best, spec)
        (folder / "best.json").write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
        save_tuning_plots(trials, self._tuning, folder / "plots")
        write_manifest(folder)
        storage.store(folder, key)

    def _clear(self, spec: JobSpec) -> None:
        storage = self._place.storage
        storage.delete(spec.checkpoints or "")
        if not self._place.settings.tuning.keep_trials:
            storage.delete(spec.attempt)

    def _job(self, run: RunTree, snapshot: Unit) -> JobSpec:
        """The tuning job. On this machine its attempt has a name that the next command knows, too."""
        spec = super()._job(run, snapshot)
        attempt_id = f"tune-{self._model_name}"
        if self._place.backend.is_remote:
            attempt_id += f"-{uuid.uuid4().hex[:12]}"
        attempt = run.attempt(attempt_id)
        tuned = set(self._tuning.space)
        return replace(
            spec,
            name=f"tune-{self._model_name}",
            kind=JobKind.TUNING,
            attempt=attempt,
            channels=(Channel(JOB_CHANNEL, f"{attempt}/{JOB_CHANNEL}_channel"), *spec.channels[1:]),
            hyperparameters={name: value for name, value in spec.hyperparameters.items() if name not in tuned},
            log=run.log(attempt_id),
            tuning=self._tuning,
        )

    def _job_type(self) -> str:
        return "tune"


def tuning_spec(place: Workplace, model_name: str) -> TuningSpec:
    """What [TUNING] and the tunables of a model ask for; SettingsError where they do not fit together."""
    settings, options = place.settings, place.settings.tuning
    _check_strategy(settings, model_name)
    objective = settings.training.objective_metric_name
    regex = options.metric_regex or default_regex(objective)
    _check_regex(regex, objective)
    earlier, parent = _earlier(place, model_name)
    return TuningSpec(
        objective=objective,
        maximizes=settings.maximizes_objective,
        regex=regex,
        space=dict(settings.tunables[model_name]),
        strategy=options.strategy,
        sampler=options.sampler,
        max_jobs=options.max_jobs,
        max_parallel_jobs=options.max_parallel_jobs,
        stops_early=options.early_stopping == "Auto",
        seed=options.seed,
        target_value=options.target_value,
        patience=options.patience,
        max_minutes=options.max_minutes,
        max_failures=options.max_failures,
        earlier=earlier,
        parent=parent,
        keeps_trials=options.keep_trials,
    )


def best_hyperparameters(storage: Storage, run: RunTree, model_name: str) -> dict[str, str]:
    """The tuned hyperparameters of a run's model, as text; UsageError where it was not tuned there."""
    if not is_committed(storage, run.tuning(model_name)):
        raise UsageError(
            f"run {run.run_num} has not tuned {model_name}", hint="`mlpipe show N --json` says what a run has"
        )
    best: dict[str, str] = open_unit(storage, run.tuning(model_name)).read_json("best.json")["hyperparameters"]
    return best


def assignments(hyperparameters: Mapping[str, str]) -> str:
    """Hyperparameters as one writes them into the settings."""
    return ", ".join(f"{name.upper()} = {value}" for name, value in hyperparameters.items())


def _check_strategy(settings: Settings, model_name: str) -> None:
    space, strategy = settings.space(model_name), settings.tuning.strategy
    if strategy == "Grid" and not all(isinstance(tunable, Categories) for tunable in space.values()):
        name = next(name for name, tunable in space.items() if not isinstance(tunable, Categories))
        raise SettingsError(
            f"[TUNING] STRATEGY = Grid tries every combination, and {name.upper()} of {model_name} is an interval",
            hint="write its values as a list, a, b, c, or take another STRATEGY",
        )
    size = math.prod(len(tunable.texts) for tunable in space.values())
    if strategy == "Grid" and size > settings.tuning.max_jobs:
        raise SettingsError(
            f"[TUNING] STRATEGY = Grid: {model_name} has {size} combinations, and MAX_JOBS = "
            f"{settings.tuning.max_jobs}",
            hint=f"write MAX_JOBS = {size}, or leave values out",
        )
    if strategy == "Hyperband" and "epochs" in space:
        raise SettingsError(
            f"[TUNING] STRATEGY = Hyperband deals out the epochs itself, and EPOCHS of {model_name} is to be tuned",
            hint="write the most epochs that a trial may have, EPOCHS = 16, or take another STRATEGY",
        )


def _check_regex(regex: str, objective: str) -> None:
    """Try the pattern on the line that a training prints, before a single trial starts."""
    try:
        from mlpipe.tuning.objective import ObjectivePattern  # an extra
    except ModuleNotFoundError as error:
        raise MlpipeError("tuning takes the package google-re2", hint=installation("tune")) from error
    ObjectivePattern(regex, objective)


def _earlier(place: Workplace, model_name: str) -> tuple[tuple[TrialRecord, ...], str | None]:
    """The trials of WARM_START_RUN, and the tuning job in a service that they came from."""
    number = place.settings.tuning.warm_start_run
    if number is None:
        return (), None
    run = find_run(place.storage, place.tree, number)
    if not is_committed(place.storage, run.tuning(model_name)):
        raise UsageError(f"[TUNING] WARM_START_RUN = {number}: that run has not tuned {model_name}")
    unit = open_unit(place.storage, run.tuning(model_name))
    trials = tuple(map(TrialRecord.from_json, unit.read_json_lines("trials.jsonl")))
    return trials, unit.read_json("best.json")["tuning_job"]


def _best_document(
    tuning: TuningSpec, trials: tuple[TrialRecord, ...], best: TrialRecord, spec: JobSpec
) -> dict[str, Any]:
    """The content of best.json."""
    return {
        "trial": best.number,
        "name": best.name,
        "objective_name": tuning.objective,
        "objective": best.objective,
        "hyperparameters": dict(best.hyperparameters),
        "model_manifest_sha256": best.manifest_sha256,
        "strategy": tuning.strategy,
        "space": dict(tuning.space),
        "trials": len(trials),
        "tuning_job": best.machine.get("tuning_job"),
        "job": spec.name,
    }
