"""The plain data that both planes share: what a job is, what a model takes, what became of a model.

Nothing here imports anything but the standard library, and everything can be written to JSON.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

Scalar = int | float | str | bool
"""A hyperparameter value: what survives a trip through a text-only wire when its type is known."""


class TaskType(enum.StrEnum):
    """What kind of classification a data set asks for."""

    SINGLE_LABEL = "single_label"
    MULTI_LABEL = "multi_label"


class JobKind(enum.StrEnum):
    """The three kinds of job, named as Amazon SageMaker names them."""

    PROCESSING = "processing"
    TRAINING = "training"
    TUNING = "tuning"


class Split(enum.StrEnum):
    """The three parts of a prepared snapshot; also the values of a user's `split` column."""

    TRAIN = "train"
    VALIDATION = "validation"
    TEST = "test"


@dataclass(frozen=True)
class FileRecord:
    """What a manifest vouches for: a file's sha256 (hex) and its size in bytes."""

    sha256: str
    size: int


@dataclass(frozen=True)
class Channel:
    """A named job input: a folder of the storage, and the files that its manifest vouches for.

    `files` maps paths relative to the channel to their records; the job checks them before it uses them. It is empty
    only for the `job` channel, which carries the check list itself.
    """

    name: str
    key: str
    files: Mapping[str, FileRecord] = field(default_factory=dict)


@dataclass(frozen=True)
class TuningSpec:
    """What a tuning searches for and how: the same on every backend.

    `space` has the tunables of the model as they are written in the settings; `regex` finds the objective in a line of
    a trial's log. `earlier` are trials of another run that are learned from, and `parent` is the tuning job in a
    service that they came from, if any. `keeps_trials` asks for the exported model of every trial.
    """

    objective: str
    maximizes: bool
    regex: str
    space: Mapping[str, str]
    strategy: str
    sampler: str
    max_jobs: int
    max_parallel_jobs: int
    stops_early: bool
    seed: int
    target_value: float | None
    patience: int
    max_minutes: float
    max_failures: int
    earlier: tuple[TrialRecord, ...] = ()
    parent: str | None = None
    keeps_trials: bool = False


class TrialState(enum.StrEnum):
    """How a trial ended, in the service's words; STOPPED is the early stopping of one that fell behind."""

    COMPLETED = "Completed"
    STOPPED = "Stopped"
    FAILED = "Failed"


@dataclass(frozen=True)
class TrialRecord:
    """A trial that has ended: what it was trained with, what it reported after each epoch, and what came of it.

    `hyperparameters` are the tuned ones, as text; `objective` is the latest value of `curve`, None where there is
    none. `output` is the storage key of its model, `manifest_sha256` the hash of that folder's manifest.
    """

    number: int
    name: str
    state: TrialState
    hyperparameters: Mapping[str, str]
    curve: tuple[float, ...] = ()
    seconds: float = 0.0
    error: str = ""
    output: str = ""
    manifest_sha256: str = ""
    machine: Mapping[str, Any] = field(default_factory=dict)

    @property
    def objective(self) -> float | None:
        """The latest value that the trial reported: what it is judged by."""
        return self.curve[-1] if self.curve else None

    def to_json(self) -> dict[str, Any]:
        """One line of trials.jsonl."""
        return {**asdict(self), "objective": self.objective}

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> TrialRecord:
        """Read what `to_json` wrote."""
        given = {name: value for name, value in document.items() if name != "objective"}
        return cls(**{**given, "state": TrialState(given["state"]), "curve": tuple(given["curve"])})


@dataclass(frozen=True)
class JobSpec:
    """One job as a backend has to run it.

    `attempt` is the storage key of the job's own working space; every output lands below it. A training job writes to
    the output `model`, a processing job to `result`. `arguments` are JSON values that the step's code is given; the
    first of the `channels` carries them. `threads` is always a number, never what happens to be free.
    `checkpoints` is the storage key of a folder that outlives the attempt: what one leaves there, the next finds.
    `output_data` is the storage key of the folder, beside the logs, for what a job wants looked at but not published.
    """

    name: str
    kind: JobKind
    step: str
    attempt: str
    channels: tuple[Channel, ...]
    arguments: Mapping[str, Any]
    hyperparameters: Mapping[str, Scalar]
    threads: int
    max_runtime_s: int
    log: str
    """Storage key of the log file."""
    checkpoints: str | None = None
    output_data: str | None = None
    tuning: TuningSpec | None = None
    """What a tuning job searches; its `hyperparameters` are those that all trials share."""
    run_num: int | None = None
    """The run that the job belongs to; None for a job that collects or prepares data for any run."""

    @property
    def output(self) -> str:
        """Storage key of the folder that holds what the job produced."""
        return f"{self.attempt}/{'model' if self.kind is not JobKind.PROCESSING else 'processing/output/result'}"


@dataclass(frozen=True)
class Origin:
    """Where a training job comes from: its run, what it is part of (train, tune or compare), and what it learns from.

    `run_id` is what no other run has, of whatever experiment; `snapshot` is the address of the prepared snapshot.
    """

    run_num: int
    run_id: str
    job_type: str
    snapshot: str


@dataclass(frozen=True)
class InputSpec:
    """One input of an exported model, in the order of `ordered_input_keys`.

    `dtype` is the torch name ("int64", "float32"). `ragged` says that the first axis after the batch varies from row to
    row and is padded with `padding_value`; `trailing_shape` are the fixed axes behind it (or behind the batch).
    """

    name: str
    dtype: str
    padding_value: int | float
    ragged: bool
    trailing_shape: tuple[int, ...]


@dataclass(frozen=True)
class ValidShapes:
    """The shapes at which an export was seen to equal the model.

    With `batch_dynamic` any batch size works, else only `batch_size`. With `seq_dynamic` any length of the ragged axis
    from `min_length` to `max_length` was covered, else only `max_length`, to which every row is then padded. Both are
    None where no input is ragged. `batch_invariant`: a row padded among longer rows gets the logits it gets alone.
    """

    batch_dynamic: bool
    seq_dynamic: bool
    batch_invariant: bool
    batch_size: int
    min_length: int | None
    max_length: int | None


@dataclass(frozen=True)
class Signature:
    """How to call an exported model: its inputs in order, its labels, and the shapes at which it is right."""

    model_name: str
    task_type: TaskType
    inputs: tuple[InputSpec, ...]
    num_labels: int
    shapes: ValidShapes

    def to_json(self) -> dict[str, Any]:
        """The content of signature.json."""
        return asdict(self)

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Signature:
        """Read what `to_json` wrote."""
        inputs = tuple(
            InputSpec(**{**entry, "trailing_shape": tuple(entry["trailing_shape"])}) for entry in document["inputs"]
        )
        return cls(
            model_name=document["model_name"],
            task_type=TaskType(document["task_type"]),
            inputs=inputs,
            num_labels=document["num_labels"],
            shapes=ValidShapes(**document["shapes"]),
        )


@dataclass(frozen=True)
class ModelOutcome:
    """What became of one model in one step: published, or failed with the error that it met."""

    model_name: str
    error: str = ""
    error_class: str = ""

    @property
    def is_published(self) -> bool:
        """True when the step's commit unit for this model exists and is complete."""
        return not self.error


def column_name(model_name: str, key: str, model_names: tuple[str, ...]) -> str:
    """The column of a prepared snapshot that holds one model's encoded input.

    One model: `key` itself. A comparison of several: `<model_name>_<key>`, so that every model's inputs stand side by
    side on the same rows.
    """
    return key if len(model_names) == 1 else f"{model_name}_{key}"


@dataclass(frozen=True)
class EncodedInput:
    """One encoded input of one model as it lies in a prepared snapshot, over all three splits.

    `ragged`: the first axis varies from row to row, between `min_length` and `max_length` (both None otherwise).
    """

    dtype: str
    ragged: bool
    trailing_shape: tuple[int, ...]
    min_length: int | None
    max_length: int | None


@dataclass(frozen=True)
class Encoding:
    """What `prepare` says about a snapshot: encoding/encoding.json.

    `labels[i]` is the name of class `i`; `inputs[model][key]` describes one encoded input.
    """

    task_type: TaskType
    model_names: tuple[str, ...]
    labels: tuple[str, ...]
    inputs: Mapping[str, Mapping[str, EncodedInput]]

    def to_json(self) -> dict[str, Any]:
        """The content of encoding.json."""
        return asdict(self)

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Encoding:
        """Read what `to_json` wrote."""
        inputs = {
            model: {
                key: EncodedInput(**{**entry, "trailing_shape": tuple(entry["trailing_shape"])})
                for key, entry in columns.items()
            }
            for model, columns in document["inputs"].items()
        }
        return cls(
            task_type=TaskType(document["task_type"]),
            model_names=tuple(document["model_names"]),
            labels=tuple(document["labels"]),
            inputs=inputs,
        )

    def columns(self, model_name: str) -> dict[str, str]:
        """Input key to column name of the prepared snapshot, for one model."""
        return {key: column_name(model_name, key, self.model_names) for key in self.inputs[model_name]}
