"""The ways to train one job: mlpipe's own, Hugging Face's Trainer, and a plain loop."""

from __future__ import annotations

import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate.state import AcceleratorState
from accelerate.utils import set_seed
from datasets import load_from_disk
from torch.utils.data import DataLoader, TensorDataset
from transformers import (
    AutoTokenizer,
    DataCollatorWithPadding,
    PrinterCallback,
    Trainer,
    TrainerCallback,
    TrainingArguments,
)

from mlpipe.batching import EncodedRows
from mlpipe.training.classifier import load_classifier, padding_values, read_inputs
from mlpipe.training.job import TrainingJob
from mlpipe.training.loop import fit, start_accelerator
from mlpipe.training.optimization import make_optimizer, make_schedule
from mlpipe.training.ranks import Ranks
from mlpipe.training.validation import Validation


@dataclass(frozen=True)
class Outcome:
    """One training: rows per second over all of its steps, and the macro F1 on the validation rows after the last."""

    rows_per_second: float
    macro_f1: float


def with_mlpipe(job: TrainingJob) -> Outcome:
    """mlpipe's training, up to the export, with its validation and its checkpoints, which are not counted."""
    shutil.rmtree(job.checkpoints, ignore_errors=True)  # or it would go on from them
    AcceleratorState._reset_state(reset_partial_state=True)  # a job is a process of its own, where it begins empty
    trained = fit(job, start_accelerator(job))
    assert trained is not None  # there is one process
    history = trained.history
    seconds = sum(timing.train_seconds for timing in history.timings)
    rows = trained.num_train_rows * len(history.timings)
    return Outcome(rows / seconds, history.records[-1].metrics["f1"])


def with_trainer(job: TrainingJob, sampling: str) -> Outcome:
    """Hugging Face's Trainer with its padding collator; `sampling` is its train_sampling_strategy."""
    chosen, seed = job.hyperparameters, job.settings.experiment.seed
    AcceleratorState._reset_state(reset_partial_state=True)
    arguments = TrainingArguments(
        output_dir=str(job.output),
        num_train_epochs=chosen.epochs,
        per_device_train_batch_size=chosen.batch_size,
        learning_rate=chosen.learning_rate,
        weight_decay=chosen.weight_decay,
        warmup_steps=chosen.warmup_ratio,
        lr_scheduler_type=chosen.schedule,
        max_grad_norm=chosen.max_grad_norm,
        optim="adamw_torch_fused",
        train_sampling_strategy=sampling,
        seed=seed,
        use_cpu=True,
        dataloader_pin_memory=False,
        save_strategy="no",
        logging_strategy="no",
        report_to="none",
        disable_tqdm=True,
    )
    rows = load_from_disk(str(job.train)).rename_column("label", "labels")
    clock = _EpochClock()
    set_seed(seed)
    classifier = load_classifier(job, read_inputs(job))
    trainer = Trainer(
        model=classifier.module,
        args=arguments,
        train_dataset=rows.select_columns(["input_ids", "attention_mask", "labels"]),
        data_collator=DataCollatorWithPadding(AutoTokenizer.from_pretrained(_processor(job))),
        callbacks=[clock],
    )
    trainer.remove_callback(PrinterCallback)
    trainer.train()
    return Outcome(len(rows) * chosen.epochs / clock.seconds, _macro_f1(job, classifier))


def with_padding_to_the_maximum(job: TrainingJob) -> Outcome:
    """A plain loop over shuffled rows that were all padded to the longest row, once, before it."""
    chosen, seed = job.hyperparameters, job.settings.experiment.seed
    inputs = read_inputs(job)
    rows = EncodedRows.open(job.train, job.encoding, job.model_name)
    padded = rows.collate(np.arange(len(rows)), padding_values(inputs))
    set_seed(seed)
    classifier = load_classifier(job, inputs).train()
    dataset = TensorDataset(*padded.values(), torch.from_numpy(rows.labels))
    loader = DataLoader(dataset, batch_size=chosen.batch_size, shuffle=True)
    optimizer = make_optimizer(classifier, chosen)
    schedule = make_schedule(optimizer, len(loader) * chosen.epochs, chosen.warmup_ratio, chosen.schedule)
    started = time.perf_counter()
    for _ in range(chosen.epochs):
        for *values, labels in loader:
            torch.nn.functional.cross_entropy(classifier(*values), labels).backward()
            torch.nn.utils.clip_grad_norm_(classifier.parameters(), chosen.max_grad_norm)
            optimizer.step()
            schedule.step()
            optimizer.zero_grad()
    seconds = time.perf_counter() - started
    return Outcome(len(rows) * chosen.epochs / seconds, _macro_f1(job, classifier))


class _EpochClock(TrainerCallback):
    """The seconds that the Trainer spends inside epochs."""

    def __init__(self) -> None:
        self.seconds = self.started = 0.0

    def on_epoch_begin(self, *_: Any, **__: Any) -> None:
        self.started = time.perf_counter()

    def on_epoch_end(self, *_: Any, **__: Any) -> None:
        self.seconds += time.perf_counter() - self.started


def _processor(job: TrainingJob) -> Path:
    return job.encoding_folder / "processors" / job.model_name


def _macro_f1(job: TrainingJob, classifier: torch.nn.Module) -> float:
    """What mlpipe's training would write down of this model."""
    rows = EncodedRows.open(job.validation, job.encoding, job.model_name)
    validation = Validation.open(job, rows, read_inputs(job), Ranks(start_accelerator(job)))
    return validation.score(classifier).metrics["f1"]
