"""The training loop: one model, on the train split, judged on the validation split after every epoch.

On CPU or GPU, through Accelerate, in one process or in several that share every batch. A training that was interrupted
goes on from its newest checkpoint and ends with the same weights and numbers as one that was not.
"""

from __future__ import annotations

import logging
import time
from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import DistributedDataParallelKwargs, set_seed

from mlpipe.batching import EncodedRows
from mlpipe.contract import THRESHOLDS
from mlpipe.errors import JobStopped
from mlpipe.specs import InputSpec, TaskType
from mlpipe.training.checkpoint import Checkpoints
from mlpipe.training.classifier import Classifier, load_classifier, read_inputs
from mlpipe.training.compiling import step_compiler
from mlpipe.training.export import export_model, save_weights
from mlpipe.training.history import EpochRecord, EpochTiming, History, write_json
from mlpipe.training.job import TrainingJob
from mlpipe.training.learner import Learner
from mlpipe.training.precision import check_precision
from mlpipe.training.random_state import random_state, set_random_state
from mlpipe.training.ranks import Ranks
from mlpipe.training.stopping import StopRequest, stop_requests
from mlpipe.training.thresholds import validation_thresholds
from mlpipe.training.trackers import Tracker, tracker_of
from mlpipe.training.tracking import Reporter, reporting
from mlpipe.training.validation import Validation

logger = logging.getLogger(__name__)

PROGRESS_SECONDS = 2.0


@dataclass(frozen=True)
class TrainedModel:
    """What training leaves behind: the best epoch's `classifier`, on CPU, and what it was judged on."""

    classifier: Classifier
    inputs: tuple[InputSpec, ...]
    validation: EncodedRows
    history: History
    num_train_rows: int


def train_model(job: TrainingJob) -> None:
    """Train the job's model and write everything that models/<MODEL_NAME>/ promises to `job.output`.

    Raises UserFunctionError for what the user's code does wrong, SettingsError for settings that do not fit the
    machine, ExportError where the trained model cannot be exported.
    """
    tracker = tracker_of(job)
    accelerator = start_accelerator(job, tracker)
    with reporting(tracker, accelerator) as reporter:
        trained = fit(job, accelerator, reporter)
        if trained:
            _save(job, accelerator, trained)
        if trained and reporter:
            reporter.add_results(trained.history, job.output / "plots")


def _save(job: TrainingJob, accelerator: Accelerator, trained: TrainedModel) -> None:
    trained.history.log_best()
    if job.defers_export:
        save_weights(trained.classifier, job.output)
    else:
        export_model(job, trained.classifier, trained.inputs, trained.validation)
        trained.history.plot(job.output / "plots")
        if job.encoding.task_type is TaskType.MULTI_LABEL:
            chosen = validation_thresholds(job, trained.classifier, trained.inputs, trained.validation)
            write_json(job.output / THRESHOLDS, chosen)
    rows = {"train": trained.num_train_rows, "validation": len(trained.validation)}
    environment = {
        "processes": accelerator.num_processes,
        "threads": job.threads,
        "device": _device_name(accelerator.device),
        "torch": torch.__version__,
        "mixed_precision": job.settings.training.mixed_precision,
        "compile": job.settings.training.compile,
    }
    parameters = sum(parameter.numel() for parameter in trained.classifier.module.parameters())
    trained.history.save(job.output, rows=rows, parameters=parameters, environment=environment)
    trained.history.log_objective()


def start_accelerator(job: TrainingJob, tracker: Tracker | None = None) -> Accelerator:
    """Set the threads, seeds and precision of this process; SettingsError where the machine lacks what they need."""
    precision = job.settings.training.mixed_precision
    check_precision(precision)
    torch.set_num_threads(job.threads)
    # A model may have parameters that its logits do not depend on (a pooler); without a GPU, Accelerate has to be told.
    unused = DistributedDataParallelKwargs(find_unused_parameters=True)
    is_cpu = not torch.accelerator.is_available()
    accelerator = Accelerator(
        mixed_precision=precision,
        cpu=is_cpu,
        dynamo_plugin=step_compiler(is_wanted=job.settings.training.compile),
        kwargs_handlers=[unused],
        log_with=tracker.log_with if tracker else None,
        project_dir=job.tracker_files,
    )
    set_seed(job.settings.experiment.seed)
    return accelerator


def fit(job: TrainingJob, accelerator: Accelerator, reporter: Reporter | None = None) -> TrainedModel | None:
    """Train for all epochs, or until early stopping, and keep the best one by the objective metric.

    Returns the model in the main process alone. Raises JobStopped, after a checkpoint, where SIGTERM arrives meanwhile.
    """
    ranks = Ranks(accelerator)
    inputs = read_inputs(job)
    train = EncodedRows.open(job.train, job.encoding, job.model_name)
    rows = EncodedRows.open(job.validation, job.encoding, job.model_name)
    classifier = load_classifier(job, inputs)
    learner = Learner.prepare(job, ranks, classifier, inputs, train)
    if ranks.index:
        set_seed(job.settings.experiment.seed + ranks.index)  # the same weights, but another dropout
    validation = Validation.open(job, rows, inputs, ranks)
    history = History(job.settings.training.objective_metric_name, job.settings.maximizes_objective)
    epochs = _Epochs(job, learner, validation, Checkpoints.of(job, ranks.count), history, reporter)
    epochs.resume()
    with stop_requests() as stop:
        epochs.run(stop)
    ranks.part()
    if not ranks.is_main:
        return None
    # Takes mixed precision off forward() again: what is exported computes in the model's own precision.
    accelerator.unwrap_model(learner.model, keep_fp32_wrapper=False)
    classifier.cpu().module.load_state_dict(epochs.best_weights)
    if learner.adaptation:
        learner.adaptation.merge()
    return TrainedModel(classifier.eval(), inputs, rows, history, len(train))


@dataclass
class _Position:
    """Where a training stands: so many optimiser steps into an epoch (from 1), and the sums over these steps."""

    epoch: int = 1
    steps: int = 0
    loss_sum: float = 0.0
    weight_sum: float = 0.0
    seconds: float = 0.0


@dataclass
class _Epochs:
    """Epoch after epoch: where a training stands, and what came of it so far."""

    job: TrainingJob
    learner: Learner
    validation: Validation
    checkpoints: Checkpoints
    history: History
    reporter: Reporter | None = None
    """Who is told of every epoch; in the main process."""
    best_weights: dict[str, torch.Tensor] = field(default_factory=dict)
    """The weights of the best epoch, on CPU; in the main process."""
    position: _Position = field(default_factory=_Position)

    @property
    def ranks(self) -> Ranks:
        """The processes that train together."""
        return self.learner.ranks

    def resume(self) -> None:
        """Go on from the newest checkpoint, if there is one."""
        # Read by the main process alone: what one process finds sound, every process has to use.
        state = self.ranks.from_main(self.checkpoints.newest() if self.ranks.is_main else None)
        if state is None:
            return
        self.learner.load_state_dict(state["learner"])
        self.history.records = [EpochRecord(**record) for record in state["history"]["records"]]
        self.history.timings = [EpochTiming(**timing) for timing in state["history"]["timings"]]
        self.best_weights = state["best_weights"]
        self.position = position = _Position(**state["position"])
        set_random_state(state["random"][self.ranks.index], self.learner.accelerator.device)
        where = f"in epoch {position.epoch}, after {position.steps} of its {self.learner.steps_per_epoch} steps"
        if not position.steps:
            where = f"after epoch {position.epoch - 1}"
        logger.info("resumed from the checkpoint at step %d: %s", self._steps_done(), where)

    def run(self, stop: StopRequest) -> None:
        """Train and validate until the last epoch, or until early stopping; JobStopped where a stop was asked for."""
        while not self._is_done():
            self._train(stop)
            self._validate()
            self._at_boundary(stop, is_due=not self.job.defers_export)
        if self.job.defers_export:  # it is not to be gone on from, but to be exported from
            self._at_boundary(stop, is_due=True)

    def _is_done(self) -> bool:
        patience = self.job.settings.training.early_stopping_patience
        if self.position.epoch > self.job.hyperparameters.epochs:
            return True
        if patience and self.history.records and self.history.epochs_since_best >= patience:
            logger.info("stopped early: no better %s for %d epochs", self.history.objective, patience)
            return True
        return False

    def _train(self, stop: StopRequest) -> None:
        """The rest of the running epoch."""
        position = self.position
        batches = self.learner.batches(position.epoch)
        progress = _Progress(f"epoch {position.epoch}/{self.job.hyperparameters.epochs}", position.steps, len(batches))
        self.learner.model.train()
        started = time.monotonic() - position.seconds
        rest = batches[position.steps :]
        with self.learner.feeding(rest):
            for batch in rest:
                loss, weight = self.learner.step(batch)
                position.loss_sum += loss * weight
                position.weight_sum += weight
                position.steps += 1
                position.seconds = time.monotonic() - started
                progress.step(len(batch), loss)
                # The end of the epoch has a checkpoint of its own, behind the validation.
                if position.steps < len(batches):
                    self._at_boundary(stop, is_due=self.checkpoints.are_due)

    def _validate(self) -> None:
        """Judge the epoch, keep its weights if it is the best one, and turn to the next."""
        started = time.monotonic()
        with self.learner.averaged():
            # Not as Accelerate prepared it: distributed, its every call would be a meeting of all processes.
            scores = self.validation.score(self.learner.classifier)
            epoch, position = self.position.epoch, self.position
            train_loss, speed = position.loss_sum / position.weight_sum, len(self.learner.rows) / position.seconds
            self.history.add(
                EpochRecord(epoch, train_loss, self.learner.lr, scores.loss, scores.metrics),
                EpochTiming(epoch, position.seconds, time.monotonic() - started, speed),
            )
            if self.history.best.epoch == epoch and self.ranks.is_main:
                self.best_weights = self.learner.weights()
        if self.reporter:
            self.reporter.update(self.history)
        self.position = _Position(epoch + 1)

    def _at_boundary(self, stop: StopRequest, *, is_due: bool) -> None:
        """Write a checkpoint where one is due or a stop was asked for; JobStopped after it in the second case.

        All processes do the same: a stop that one was asked for is one for all, and the main process has the clock.
        """
        stops, dues = self.ranks.total(stop.is_requested, is_due and self.ranks.is_main)
        if stops or dues:
            state = self._state()
            if self.ranks.is_main:
                self.checkpoints.save(self._steps_done(), state)
            self.ranks.wait()
        if stops:
            raise JobStopped(f"a checkpoint was written at step {self._steps_done()}: the next attempt goes on from it")

    def _steps_done(self) -> int:
        return (self.position.epoch - 1) * self.learner.steps_per_epoch + self.position.steps

    def _state(self) -> dict[str, Any]:
        history = self.history
        return {
            "learner": self.learner.state_dict(),
            "history": {
                "records": [asdict(record) for record in history.records],
                "timings": [asdict(timing) for timing in history.timings],
            },
            "best_weights": self.best_weights,
            "position": asdict(self.position),
            "random": self.ranks.gathered(random_state(self.learner.accelerator.device)),
        }


class _Progress:
    """Logs how far an epoch is, at most every two seconds."""

    def __init__(self, title: str, done: int, steps: int) -> None:
        self.title, self.done, self.steps = title, done, steps
        self.rows = 0
        self.started = self.logged = time.monotonic()

    def step(self, rows: int, loss: float) -> None:
        """Count one optimiser step over so many rows."""
        self.done, self.rows, now = self.done + 1, self.rows + rows, time.monotonic()
        if now - self.logged >= PROGRESS_SECONDS:
            self.logged = now
            speed = self.rows / (now - self.started)
            logger.info(
                "progress: %s, step %d/%d, %.0f rows/s, loss %.4f", self.title, self.done, self.steps, speed, loss
            )


def _device_name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
