"""The sections of settings.ini and their keys: type, range, default and meaning of each.

Every section with fixed keys is a frozen model; the attribute is the key in lower case. A field's description says what
the setting means and `fields.expectation` says what it may be: together they are the reference of the settings.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from pydantic import Field, model_validator

from mlpipe.settings.fields import (
    AccountId,
    AutoOrWholeNumber,
    Flag,
    KmsKey,
    Metric,
    Metrics,
    ModelNames,
    Name,
    Number,
    OptionalName,
    OptionalText,
    Paths,
    Patterns,
    PythonPath,
    Region,
    SecretPlace,
    ServerAddress,
    StoragePlace,
    WholeNumber,
    refused,
)
from mlpipe.settings.sagemaker import Sagemaker
from mlpipe.settings.section import Section
from mlpipe.settings.tuning import Tuning


class Experiment(Section):
    """[EXPERIMENT]: what the experiment is called, what it trains and where its results go."""

    experiment_name: Name = Field(
        description="Name of the experiment: the folder below STORAGE that holds its data and its runs.",
        examples=["my-experiment"],
    )
    model_names: ModelNames = Field(
        description="The models to train and to compare on the same rows. The user functions are given each name.",
        examples=["my-model"],
    )
    user_functions: PythonPath = Field(
        default="user_functions",
        description="Where the five user functions are, relative to the folder of the settings file.",
    )
    backend: Literal["local", "sagemaker"] = Field(
        default="local",
        description="Where jobs run: local is this machine, sagemaker is Amazon SageMaker (extra sagemaker), which "
        "takes a STORAGE in S3.",
    )
    storage: StoragePlace = Field(
        default="storage",
        description="Where all experiments are stored: a folder, relative to that of the settings file, or a place in "
        "an S3 bucket (extra s3).",
    )
    run_num: AutoOrWholeNumber = Field(
        default=None,
        ge=1,
        le=999_999_999,
        description="Number of the run; auto resumes an unfinished run or takes the next.",
    )
    seed: WholeNumber = Field(
        default=42,
        ge=1,
        le=2**31 - 1,
        description="Seed of every random choice. Not 0: a service that drops falsy values would drop it.",
    )


class Data(Section):
    """[DATA]: what the rows are and how they are split; given to the data functions and part of every snapshot."""

    validation_fraction: Number = Field(
        default=0.1, gt=0, le=0.5, description="Share of the rows that chooses the best epoch of each model."
    )
    test_fraction: Number = Field(
        default=0.2,
        gt=0,
        le=0.5,
        description="Share of the rows that stays unseen until the models are measured on it.",
    )
    group_key: OptionalText = Field(
        default=None, description="Column whose equal values stay together in one split (an author, a patient)."
    )
    sources: Paths = Field(
        default=(),
        description="Files that reconcile() reads, relative to the settings file; a change makes a new snapshot.",
    )
    text_column: OptionalText = Field(
        default=None,
        description="Column that holds the text of a row: for the lengths and the near duplicates in the data card, "
        "and for the linear model on words that every model is compared with.",
    )
    near_duplicate_threshold: Number = Field(
        default=0.8,
        ge=0,
        le=1,
        description="How similar two texts of different splits have to be (the share that they have in common of their "
        "word pairs, or of five characters in a row where the column has few spaces) to be counted as near duplicates "
        "in the data card; 0 looks for none.",
    )

    @model_validator(mode="after")
    def _leaves_training_rows(self) -> Data:
        if self.validation_fraction + self.test_fraction >= 1:
            raise refused(
                "VALIDATION_FRACTION and TEST_FRACTION leave no rows to train on",
                "validation_fraction",
                "test_fraction",
            )
        return self


class Training(Section):
    """[TRAINING]: how every model is trained, apart from its hyperparameters."""

    objective_metric_name: Metric = Field(
        default="f1",
        description="The metric on the validation rows that decides which epoch is the best one.",
    )
    metrics: Metrics = Field(
        default=("f1", "accuracy", "precision", "recall"),
        description="What is measured on the validation rows after each epoch. f1, precision and recall are macro "
        "averages; hub:name loads the evaluate module of that name from the Hugging Face Hub, and runs its code.",
    )
    max_batch_per_device: WholeNumber = Field(
        default=32,
        ge=1,
        le=100_000,
        description="Rows that fit in the memory of a device at once; a larger BATCH_SIZE is reached by accumulating "
        "gradients.",
    )
    use_distributed: Flag = Field(
        default=False,
        description="Whether one training runs in several processes (torchrun: gloo on CPU, nccl on GPU), which share "
        "every batch: BATCH_SIZE and the schedule mean the same.",
    )
    processes: AutoOrWholeNumber = Field(
        default=None,
        ge=1,
        le=64,
        description="Processes of a distributed training on each machine; auto starts one per GPU, or one on a machine "
        "without. The threads of a job are shared among them.",
    )
    mixed_precision: Literal["no", "bf16", "fp16"] = Field(
        default="no",
        description="Number format of the forward pass in training; bf16 and fp16 need a device that computes in it.",
    )
    compile: Flag = Field(
        default=False,
        description="Whether training steps are compiled by torch.compile, which needs a C++ compiler and takes a "
        "minute at first. Measure it before you rely on it: on two CPU cores small encoders gained nothing.",
    )
    threads: AutoOrWholeNumber = Field(
        default=None,
        ge=1,
        le=1024,
        description="CPU threads of each job; auto takes all cores of the machine, which trainings side by side share.",
    )
    early_stopping_patience: WholeNumber = Field(
        default=0,
        ge=0,
        le=10_000,
        description="Epochs without a better objective after which training ends; 0 never ends early.",
    )
    class_weights: Literal["none", "balanced"] = Field(
        default="none",
        description="Weights of the labels in the loss; balanced weighs each by the inverse of its frequency.",
    )
    checkpoint_minutes: Number = Field(
        default=10.0,
        ge=0,
        le=10_000,
        description="Minutes between two checkpoints, from which an interrupted training goes on; each epoch ends with "
        "one, and 0 writes no others.",
    )

    @model_validator(mode="after")
    def _measures_its_objective(self) -> Training:
        if self.objective_metric_name not in self.metrics:
            raise refused(
                f"OBJECTIVE_METRIC_NAME, which is {self.objective_metric_name}, has to be one of METRICS",
                "objective_metric_name",
                "metrics",
            )
        return self

    @model_validator(mode="after")
    def _distributes_what_it_counts(self) -> Training:
        if self.processes is not None and self.processes > 1 and not self.use_distributed:
            raise refused(f"PROCESSES = {self.processes} needs USE_DISTRIBUTED = yes", "use_distributed", "processes")
        return self


class Hyperparameters(Section):
    """[HYPERPARAMETERS] and [HYPERPARAMETERS.<model>]: what one model is trained with."""

    epochs: WholeNumber = Field(default=3, ge=1, le=10_000, description="Passes over the training rows.")
    batch_size: WholeNumber = Field(
        default=32, ge=1, le=100_000, description="Rows per optimiser step, over all devices: the effective batch."
    )
    learning_rate: Number = Field(default=5e-5, gt=0, le=10, description="Highest learning rate of the schedule.")
    weight_decay: Number = Field(default=0.01, ge=0, le=10, description="Weight decay of AdamW.")
    warmup_ratio: Number = Field(
        default=0.1, ge=0, le=1, description="Share of the optimiser steps over which the learning rate rises from 0."
    )
    max_grad_norm: Number = Field(
        default=1.0, ge=0, description="Norm to which the gradient of a step is clipped; 0 does not clip."
    )
    schedule: Literal["linear", "cosine", "constant"] = Field(
        default="linear",
        description="What the learning rate does after its rise: falls to 0 on a line or a half cosine, or stays.",
    )
    label_smoothing: Number = Field(
        default=0.0, ge=0, lt=1, description="Share of each label's weight in the loss that is spread over all labels."
    )
    focal_gamma: Number = Field(
        default=0.0,
        ge=0,
        le=10,
        description="Exponent of the focal loss, which counts rows the less the surer they are right; 0 is the plain "
        "cross entropy, 2 is common.",
    )
    freeze: Patterns = Field(
        default=(),
        description="Parameters that stay as they are: patterns of their names, such as bert.embeddings.*; * stands "
        "for any text.",
    )
    layer_lr_decay: Number = Field(
        default=1.0,
        gt=0,
        le=1,
        description="Factor on the learning rate from each numbered layer to the one below it; the head, above them, "
        "has LEARNING_RATE, the embeddings, below them, the lowest. 1 trains all alike, 0.9 is common.",
    )
    ema_decay: Number = Field(
        default=0.0,
        ge=0,
        lt=1,
        description="Decay of a moving average of the weights, which is then validated and exported in their place; "
        "0 keeps none, 0.999 is common.",
    )
    lora_rank: WholeNumber = Field(
        default=0,
        ge=0,
        le=1024,
        description="Rank of the matrices of LoRA (package peft), which are trained in place of the numbered layers "
        "and the embeddings, and merged into them before export; 0 trains the model itself, 8 is common.",
    )

    def as_text(self) -> dict[str, str]:
        """Every hyperparameter as it may be written in a settings file, by name: how a job is given them."""
        values = self.model_dump().items()
        return {name: ", ".join(value) if isinstance(value, tuple) else str(value) for name, value in values}


class Inference(Section):
    """[INFERENCE]: how the exported models are measured on the test rows."""

    token_budget: WholeNumber = Field(
        default=512,
        ge=1,
        le=10_000_000,
        description="Most padded tokens in a batch: a matter of speed and memory.",
    )
    bootstrap_resamples: WholeNumber = Field(
        default=10_000, ge=100, le=1_000_000, description="Resamples of the test rows behind each confidence interval."
    )


class Local(Section):
    """[LOCAL]: limits of the jobs that run on this machine."""

    max_parallel_jobs: WholeNumber = Field(
        default=1,
        ge=1,
        le=64,
        description="Trainings that run side by side, sharing the cores and GPUs of the machine.",
    )
    max_runtime: WholeNumber = Field(
        default=86_400, ge=1, le=31_536_000, description="Seconds after which a job is ended as failed."
    )


class Tracking(Section):
    """[TRACKING]: where the course of each training is shown; it changes nothing about the training."""

    tracker: Literal["none", "wandb", "tensorboard", "mlflow"] = Field(
        default="none",
        description="The experiment tracker that is told of every epoch; each is an extra of that name.",
    )
    project: OptionalName = Field(
        default=None, description="The tracker's project (MLflow: experiment); nothing takes EXPERIMENT_NAME."
    )
    mode: Literal["online", "offline"] = Field(
        default="online",
        description="Whether wandb uploads, with the key of wandb login or of WANDB_API_KEY, or only writes files "
        "beside the logs, for wandb sync.",
    )
    entity: OptionalName = Field(
        default=None, description="The wandb user or team that the project belongs to; nothing takes your default."
    )
    api_key_secret: SecretPlace = Field(
        default=None,
        description="Name of the secret that holds the tracker's key, for BACKEND = sagemaker, where each job fetches "
        "it itself; on this machine the key is that of the environment.",
    )
    uri: ServerAddress = Field(
        default=None,
        description="The MLflow server, whose credentials MLflow reads from the environment; nothing writes files "
        "beside the logs.",
    )


class S3(Section):
    """[S3]: how a STORAGE in a bucket is reached and encrypted; credentials and endpoint are those of the AWS tools."""

    region: Region = Field(default=None, description="Region of the bucket; nothing takes the one of the AWS settings.")
    kms_key_id: KmsKey = Field(
        default=None,
        description="Key that encrypts every object that is written; nothing leaves that to the bucket.",
    )
    expected_bucket_owner: AccountId = Field(
        default=None,
        description="Account that the bucket has to belong to: a bucket of anybody else is refused.",
    )


SECTION_MODELS: Mapping[str, type[Section]] = {
    "EXPERIMENT": Experiment,
    "DATA": Data,
    "TRAINING": Training,
    "HYPERPARAMETERS": Hyperparameters,
    "TUNING": Tuning,
    "INFERENCE": Inference,
    "LOCAL": Local,
    "TRACKING": Tracking,
    "S3": S3,
    "SAGEMAKER": Sagemaker,
}
"""The sections with fixed keys."""

PER_MODEL_SECTIONS = ("HYPERPARAMETERS", "USER_HYPERPARAMETERS")
"""The sections that may be written once more for each model, as [SECTION.<model>]."""

SECTION_NAMES = (
    "EXPERIMENT",
    "DATA",
    "TRAINING",
    "HYPERPARAMETERS",
    "USER_HYPERPARAMETERS",
    "TUNING",
    "INFERENCE",
    "LOCAL",
    "TRACKING",
    "S3",
    "SAGEMAKER",
    "USER",
)
"""All sections; USER_HYPERPARAMETERS and USER take any key."""
