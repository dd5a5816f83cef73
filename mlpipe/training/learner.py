"""What changes while a model learns, and the one optimiser step that changes it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from numpy.typing import NDArray

from mlpipe.batching import EncodedRows, epoch_batches
from mlpipe.errors import UserFunctionError
from mlpipe.specs import InputSpec, TaskType
from mlpipe.training.averaging import WeightAverage
from mlpipe.training.classifier import Classifier, compute_logits, enough_memory, padding_values
from mlpipe.training.feeding import Feed
from mlpipe.training.job import TrainingJob
from mlpipe.training.lora import LowRankAdaptation
from mlpipe.training.losses import Loss, MultiLabelLoss
from mlpipe.training.optimization import balanced_class_weights, make_optimizer, make_schedule
from mlpipe.training.parameters import freeze
from mlpipe.training.ranks import Ranks


@dataclass
class Learner:
    """What changes while a model learns, and what it learns from."""

    job: TrainingJob
    accelerator: Accelerator
    ranks: Ranks
    classifier: Classifier
    model: torch.nn.Module
    """`classifier`, as Accelerate prepared it."""
    optimizer: torch.optim.Optimizer
    schedule: torch.optim.lr_scheduler.LambdaLR
    rows: EncodedRows
    feed: Feed
    loss: Loss | MultiLabelLoss
    steps_per_epoch: int
    average: WeightAverage | None
    """The moving average of the weights, where EMA_DECAY asks for it."""
    adaptation: LowRankAdaptation | None
    """The LoRA of the user's model, where LORA_RANK asks for it."""
    lr: float = 0.0
    """The learning rate of the last step."""

    @classmethod
    def prepare(
        cls,
        job: TrainingJob,
        ranks: Ranks,
        classifier: Classifier,
        inputs: tuple[InputSpec, ...],
        rows: EncodedRows,
    ) -> Learner:
        """Put the model on the device, with everything that the job's hyperparameters ask for.

        Raises SettingsError where they do not fit the model.
        """
        hyperparameters, module, accelerator = job.hyperparameters, classifier.module, ranks.accelerator
        freeze(module, hyperparameters.freeze)
        adaptation = LowRankAdaptation(module, hyperparameters.lora_rank) if hyperparameters.lora_rank else None
        optimizer = make_optimizer(classifier, hyperparameters)
        steps_per_epoch = math.ceil(len(rows) / hyperparameters.batch_size)
        schedule = make_schedule(
            optimizer, steps_per_epoch * hyperparameters.epochs, hyperparameters.warmup_ratio, hyperparameters.schedule
        )
        model, prepared = accelerator.prepare(classifier, optimizer)
        return cls(
            job=job,
            accelerator=accelerator,
            ranks=ranks,
            classifier=classifier,
            model=model,
            optimizer=prepared,
            schedule=schedule,
            rows=rows,
            feed=Feed.of(rows, padding_values(inputs), accelerator.device),
            loss=_loss(job, rows),
            steps_per_epoch=steps_per_epoch,
            # On the device by now, where its copies belong too.
            average=WeightAverage(module, hyperparameters.ema_decay) if hyperparameters.ema_decay else None,
            adaptation=adaptation,
        )

    def batches(self, epoch: int) -> list[NDArray[np.int64]]:
        """The rows of every optimiser step of an epoch; a function of the seed and the epoch alone."""
        seed = self.job.settings.experiment.seed
        return epoch_batches(self.rows.lengths, self.job.hyperparameters.batch_size, seed, epoch)

    def feeding(self, batches: Sequence[NDArray[np.int64]]) -> AbstractContextManager[None]:
        """Within it, `step` has to be given these batches, one after the other; a GPU has their inputs in time."""
        return self.feed.ahead(rows for batch in batches for rows in self._micro_batches(batch))

    def step(self, batch: NDArray[np.int64]) -> tuple[float, float]:
        """One optimiser step on the effective batch; returns its mean loss and the sum of its class weights.

        The loss is the mean over the effective batch, whatever its micro-batches and processes: each adds its part of
        the sum, over the weight of the whole.
        """
        total_weight = self.loss.weight(self.rows.labels[batch])
        (loss,) = self.ranks.total(self._backward(self._micro_batches(batch), total_weight))
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
            if self.average:
                self.average.update()
        return loss, total_weight

    def _micro_batches(self, batch: NDArray[np.int64]) -> list[NDArray[np.int64]]:
        """This process's part of a batch in pieces that fit in memory: as many in all processes, some of them empty."""
        pieces = math.ceil(len(batch) / (self.ranks.count * self.job.settings.training.max_batch_per_device))
        return np.array_split(self.ranks.share(batch), pieces)

    def _backward(self, micro_batches: list[NDArray[np.int64]], total_weight: float) -> float:
        """Add up this process's gradients, and exchange them with the last; returns this process's part of the loss."""
        with self.accelerator.no_sync(self.model):
            losses = [self._micro_step(rows, total_weight) for rows in micro_batches[:-1]]
        losses.append(self._micro_step(micro_batches[-1], total_weight))
        return float(torch.stack(losses).sum())

    def _micro_step(self, rows: NDArray[np.int64], total_weight: float) -> torch.Tensor:
        # Without a row of its own, a process takes part in the exchange of gradients all the same: with nothing to add.
        share = 1.0 if len(rows) else 0.0
        batch, labels = self.feed.take(rows)
        logits = compute_logits(self.model, batch, len(self.job.encoding.labels), self.job.functions.code)
        if not logits.requires_grad:
            raise UserFunctionError(
                "the logits of the model from load_model depend on no parameter that can be trained",
                hint="do not detach them, and do not compute them under torch.no_grad()",
            )
        loss = share * self.loss.sum(logits.float(), labels) / total_weight
        with enough_memory():
            # Processes exchange the mean of their gradients, and what is wanted is the sum.
            self.accelerator.backward(loss * self.ranks.count)
        return loss.detach()

    def averaged(self) -> AbstractContextManager[None]:
        """Within it, the model has the weights that are to be judged and kept: their average, if there is one."""
        return self.average.applied() if self.average else nullcontext()

    def weights(self) -> dict[str, torch.Tensor]:
        """A copy of the user's model on CPU, sharing no memory with it, nor one entry (tied weights) with another."""
        state = _tensors(self.classifier.module)
        return {name: value.detach().to("cpu", copy=True).contiguous() for name, value in state.items()}

    def state_dict(self) -> dict[str, Any]:
        """All that a later step depends on, except random numbers, for a checkpoint; its tensors are those in use."""
        module, scaler = self.classifier.module, self.accelerator.scaler
        state = _tensors(module)
        return {
            "model": state,
            "buffers": {name: buffer for name, buffer in module.named_buffers() if name not in state},
            "optimizer": self.optimizer.state_dict(),
            "schedule": self.schedule.state_dict(),
            "scaler": scaler.state_dict() if scaler else {},
            "average": self.average.state_dict() if self.average else {},
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state_dict` gave for an equal job."""
        module, scaler = self.classifier.module, self.accelerator.scaler
        module.load_state_dict(state["model"])
        for name, value in state["buffers"].items():
            _set_buffer(module, name, value.to(self.accelerator.device))
        self.optimizer.load_state_dict(state["optimizer"])
        self.schedule.load_state_dict(state["schedule"])
        if scaler:
            scaler.load_state_dict(state["scaler"])
        if self.average:
            self.average.load_state_dict(state["average"])


def _loss(job: TrainingJob, rows: EncodedRows) -> Loss | MultiLabelLoss:
    """What the hyperparameters ask for, in the form that the rows' labels have."""
    hyperparameters, num_labels = job.hyperparameters, len(job.encoding.labels)
    if job.encoding.task_type is TaskType.MULTI_LABEL:
        return MultiLabelLoss(hyperparameters.label_smoothing, hyperparameters.focal_gamma)
    is_balanced = job.settings.training.class_weights == "balanced"
    weights = balanced_class_weights(rows.labels, num_labels) if is_balanced else np.ones(num_labels, np.float32)
    return Loss.of(hyperparameters, weights)


def _tensors(module: torch.nn.Module) -> dict[str, torch.Tensor]:
    """The module's state. Raises UserFunctionError where it holds anything but tensors."""
    state = module.state_dict()
    for name, value in state.items():
        if not isinstance(value, torch.Tensor):
            raise UserFunctionError(
                f"the state_dict of the model from load_model holds a {type(value).__name__} as {name!r}",
                hint="only tensors can be saved: keep other state out of get_extra_state()",
            )
    return state


@torch.no_grad()
def _set_buffer(module: torch.nn.Module, name: str, value: torch.Tensor) -> None:
    """Set a buffer that is not part of the state_dict; it may have another shape than at first, or be new."""
    path, _, attribute = name.rpartition(".")
    owner = module.get_submodule(path)
    present = getattr(owner, attribute, None)
    if isinstance(present, torch.Tensor) and present.shape == value.shape:
        present.copy_(value)
    else:
        owner.register_buffer(attribute, value, persistent=False)
