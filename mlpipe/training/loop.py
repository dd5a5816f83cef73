"""The training loop: one model, on the train split, judged on the validation split after every epoch.

One process on CPU or GPU, through Accelerate.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.utils import set_seed
from numpy.typing import NDArray

from mlpipe.batching import EncodedRows, epoch_batches
from mlpipe.errors import SettingsError, UserFunctionError
from mlpipe.specs import InputSpec
from mlpipe.training.classifier import (
    Classifier,
    compute_logits,
    enough_memory,
    load_classifier,
    padding_values,
    read_inputs,
)
from mlpipe.training.export import export_model
from mlpipe.training.history import EpochRecord, EpochTiming, History
from mlpipe.training.job import TrainingJob
from mlpipe.training.optimization import balanced_class_weights, make_optimizer, make_schedule
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
    accelerator = start_accelerator(job)
    trained = fit(job, accelerator)
    if not accelerator.is_main_process:
        return
    export_model(job, trained.classifier, trained.inputs, trained.validation)
    rows = {"train": trained.num_train_rows, "validation": len(trained.validation)}
    environment = {
        "threads": job.threads,
        "device": _device_name(accelerator.device),
        "torch": torch.__version__,
        "mixed_precision": job.settings.training.mixed_precision,
    }
    trained.history.save(job.output, rows=rows, environment=environment)
    trained.history.log_objective()


def start_accelerator(job: TrainingJob) -> Accelerator:
    """Set the threads, seeds and precision of this process."""
    precision = job.settings.training.mixed_precision
    if precision == "fp16" and not torch.cuda.is_available():
        raise SettingsError(
            "[TRAINING] MIXED_PRECISION = fp16 needs a GPU, and there is none here", hint="use bf16, or no"
        )
    torch.set_num_threads(job.threads)
    accelerator = Accelerator(mixed_precision=precision)
    set_seed(job.settings.experiment.seed)
    return accelerator


def fit(job: TrainingJob, accelerator: Accelerator) -> TrainedModel:
    """Train for all epochs, or until early stopping, and keep the best one by the objective metric."""
    inputs = read_inputs(job)
    train = EncodedRows.open(job.train, job.encoding, job.model_name)
    rows = EncodedRows.open(job.validation, job.encoding, job.model_name)
    classifier = load_classifier(job, inputs)
    learner = _Learner.prepare(job, accelerator, classifier, inputs, train)
    validation = Validation.open(job, rows, inputs, accelerator.device)
    history, best_state = _run_epochs(job, learner, validation)
    # Takes mixed precision off forward() again: what is exported computes in the model's own precision.
    accelerator.unwrap_model(learner.model, keep_fp32_wrapper=False)
    classifier.cpu().module.load_state_dict(best_state)
    return TrainedModel(classifier.eval(), inputs, rows, history, len(train))


def _run_epochs(job: TrainingJob, learner: _Learner, validation: Validation) -> tuple[History, dict[str, torch.Tensor]]:
    """Train and validate epoch by epoch; also returns the weights of the best epoch, on CPU."""
    history = History(job.settings.training.objective_metric_name)
    patience = job.settings.training.early_stopping_patience
    best_state: dict[str, torch.Tensor] = {}
    for epoch in range(1, job.hyperparameters.epochs + 1):
        started = time.monotonic()
        train_loss = learner.train_epoch(epoch)
        trained = time.monotonic()
        scores = validation.score(learner.model)
        seconds = trained - started
        history.add(
            EpochRecord(epoch, train_loss, learner.lr, scores.loss, scores.metrics),
            EpochTiming(epoch, seconds, time.monotonic() - trained, len(learner.rows) / seconds),
        )
        if history.best.epoch == epoch:
            best_state = _copy_state(learner.classifier.module)
        if patience and history.epochs_since_best >= patience:
            logger.info("stopped early: no better %s for %d epochs", history.objective, patience)
            break
    return history, best_state


@dataclass
class _Learner:
    """What changes while a model learns, and what it learns from."""

    job: TrainingJob
    accelerator: Accelerator
    classifier: Classifier
    model: torch.nn.Module
    """`classifier`, as Accelerate prepared it."""
    optimizer: torch.optim.Optimizer
    schedule: torch.optim.lr_scheduler.LambdaLR
    rows: EncodedRows
    padding: Mapping[str, int | float]
    class_weights: NDArray[np.float32]
    lr: float = 0.0
    """The learning rate of the last step."""

    @classmethod
    def prepare(
        cls,
        job: TrainingJob,
        accelerator: Accelerator,
        classifier: Classifier,
        inputs: tuple[InputSpec, ...],
        rows: EncodedRows,
    ) -> _Learner:
        hyperparameters, num_labels = job.hyperparameters, len(job.encoding.labels)
        optimizer = make_optimizer(classifier, hyperparameters)
        steps = math.ceil(len(rows) / hyperparameters.batch_size) * hyperparameters.epochs
        schedule = make_schedule(optimizer, steps, hyperparameters.warmup_ratio)
        model, prepared = accelerator.prepare(classifier, optimizer)
        is_balanced = job.settings.training.class_weights == "balanced"
        weights = balanced_class_weights(rows.labels, num_labels) if is_balanced else np.ones(num_labels, np.float32)
        return cls(job, accelerator, classifier, model, prepared, schedule, rows, padding_values(inputs), weights)

    def train_epoch(self, epoch: int) -> float:
        """One pass over all rows; returns the weighted mean loss."""
        settings = self.job.settings
        size = self.job.hyperparameters.batch_size
        batches = epoch_batches(self.rows.lengths, size, settings.experiment.seed, epoch)
        progress = _Progress(epoch, self.job.hyperparameters.epochs, len(batches))
        self.model.train()
        loss_sum = weight_sum = 0.0
        for batch in batches:
            loss, weight = self._step(batch)
            loss_sum += loss * weight
            weight_sum += weight
            progress.step(len(batch), loss)
        return loss_sum / weight_sum

    def _step(self, batch: NDArray[np.int64]) -> tuple[float, float]:
        """One optimiser step on the effective batch; returns its mean loss and the sum of its class weights.

        The loss is the mean over the effective batch, whatever its micro-batches: each adds its part of the sum, over
        the weight of the whole.
        """
        total_weight = float(self.class_weights[self.rows.labels[batch]].sum())
        pieces = math.ceil(len(batch) / self.job.settings.training.max_batch_per_device)
        losses = [self._micro_step(rows, total_weight) for rows in np.array_split(batch, pieces)]
        loss = float(torch.stack(losses).sum())
        if not math.isfinite(loss):
            ids = ", ".join(repr(self.rows.ids[row]) for row in batch[:5])
            raise UserFunctionError(
                f"the loss became {loss} on a batch of {len(batch)} rows, with ids {ids}, ...",
                hint="lower LEARNING_RATE, set MAX_GRAD_NORM, or look for logits that overflow in forward()",
            )
        limit = self.job.hyperparameters.max_grad_norm
        if limit:
            self.accelerator.clip_grad_norm_(self.model.parameters(), limit)
        self.lr = float(self.schedule.get_last_lr()[0])
        self.optimizer.step()
        self.optimizer.zero_grad()
        if not self.accelerator.optimizer_step_was_skipped:
            self.schedule.step()
        return loss, total_weight

    def _micro_step(self, rows: NDArray[np.int64], total_weight: float) -> torch.Tensor:
        device = self.accelerator.device
        batch = {key: value.to(device) for key, value in self.rows.collate(rows, self.padding).items()}
        labels = torch.from_numpy(self.rows.labels[rows]).to(device)
        weights = torch.from_numpy(self.class_weights).to(device)
        logits = compute_logits(self.model, batch, len(self.class_weights), self.job.functions.code)
        if not logits.requires_grad:
            raise UserFunctionError(
                "the logits of the model from load_model depend on no parameter that can be trained",
                hint="do not detach them, and do not compute them under torch.no_grad()",
            )
        loss = torch.nn.functional.cross_entropy(logits.float(), labels, weight=weights, reduction="sum") / total_weight
        with enough_memory():
            self.accelerator.backward(loss)
        return loss.detach()


class _Progress:
    """Logs how far an epoch is, at most every two seconds."""

    def __init__(self, epoch: int, epochs: int, steps: int) -> None:
        self.title, self.steps = f"epoch {epoch}/{epochs}", steps
        self.done = self.rows = 0
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


def _copy_state(module: torch.nn.Module) -> dict[str, torch.Tensor]:
    """The module's state on CPU, sharing no memory with it, nor one entry (tied weights) with another."""
    state = module.state_dict()
    for name, value in state.items():
        if not isinstance(value, torch.Tensor):
            raise UserFunctionError(
                f"the state_dict of the model from load_model holds a {type(value).__name__} as {name!r}",
                hint="only tensors can be saved: keep other state out of get_extra_state()",
            )
    return {name: value.detach().to("cpu", copy=True).contiguous() for name, value in state.items()}


def _device_name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
