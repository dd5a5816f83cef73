"""The user's model behind one calling convention: ordered inputs in, logits out."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import torch

from mlpipe.errors import JobError, UserFunctionError
from mlpipe.specs import InputSpec
from mlpipe.training.job import TrainingJob
from mlpipe.user_functions import user_code

FORWARD = "forward() of the model from load_model"


class Classifier(torch.nn.Module):
    """Calls the user's `module` with its inputs by name and returns its logits (batch, labels).

    This is also what is exported: inputs go in by position, in the order of `keys`, and one tensor comes out.
    """

    def __init__(self, module: torch.nn.Module, keys: tuple[str, ...]) -> None:
        super().__init__()
        self.module = module
        self.keys = keys

    def forward(self, *inputs: torch.Tensor) -> torch.Tensor:
        """Logits of one batch. Raises UserFunctionError where the model returns neither a tensor nor `.logits`."""
        output = self.module(**dict(zip(self.keys, inputs, strict=True)))
        logits = getattr(output, "logits", output)
        if not isinstance(logits, torch.Tensor):
            raise UserFunctionError(
                f"{FORWARD} returned {_type_name(output)}",
                hint="return the logits as a tensor, or an object that has them as `.logits`",
            )
        return logits


def read_inputs(job: TrainingJob) -> tuple[InputSpec, ...]:
    """The inputs of the job's model, in the order of the user's ordered_input_keys.

    Raises UserFunctionError for an input that encode() did not deliver, or a padding value its type cannot hold.
    """
    settings = job.settings.for_model_functions(job.model_name)
    padding = job.functions.ordered_input_keys(job.model_name, settings)
    encoded = job.encoding.inputs[job.model_name]
    for key, value in padding.items():
        if key not in encoded:
            raise UserFunctionError(
                f"ordered_input_keys() names {key!r} for model {job.model_name}, which encode() did not return",
                hint=f"encode() returned {', '.join(encoded)}",
            )
        if value != np.asarray(value).astype(encoded[key].dtype):
            raise UserFunctionError(
                f"ordered_input_keys() gives {key!r} the padding value {value}, but its values are {encoded[key].dtype}"
            )
    return tuple(
        InputSpec(key, encoded[key].dtype, value, encoded[key].ragged, encoded[key].trailing_shape)
        for key, value in padding.items()
    )


def padding_values(inputs: tuple[InputSpec, ...]) -> dict[str, int | float]:
    """The padding value of every input, in order."""
    return {entry.name: entry.padding_value for entry in inputs}


def load_classifier(job: TrainingJob, inputs: tuple[InputSpec, ...]) -> Classifier:
    """A new model from the user's load_model. Raises UserFunctionError where that is no torch module."""
    settings = job.settings.for_model_functions(job.model_name)
    module = job.functions.load_model(job.model_name, job.id2label, settings)
    if not isinstance(module, torch.nn.Module):
        raise UserFunctionError(
            f"load_model() returned {_type_name(module)} for model {job.model_name}",
            hint="return a torch.nn.Module",
        )
    return Classifier(module, tuple(entry.name for entry in inputs))


def compute_logits(
    classifier: torch.nn.Module, batch: Mapping[str, torch.Tensor], num_labels: int, code: Path
) -> torch.Tensor:
    """Logits (batch, num_labels) of one batch; `code` is the folder of the user's functions.

    Raises UserFunctionError, with what the model was given, where it fails or returns another shape.
    """
    size = len(next(iter(batch.values())))
    given = f"a batch of {size} rows with " + ", ".join(f"{key} {tuple(value.shape)}" for key, value in batch.items())
    with user_code(FORWARD, given, code), enough_memory():
        logits: torch.Tensor = classifier(*batch.values())
    if logits.shape != (size, num_labels):
        raise UserFunctionError(
            f"{FORWARD} returned logits of shape {tuple(logits.shape)}, expected ({size}, {num_labels})",
            hint=f"it was given {given}",
        )
    return logits


@contextlib.contextmanager
def enough_memory() -> Iterator[None]:
    """Turn a device that runs out of memory into a JobError that says what to change."""
    try:
        yield
    except torch.OutOfMemoryError as error:
        message = str(error).splitlines()[0]
        raise JobError(
            f"the device ran out of memory: {message}", hint="lower [TRAINING] MAX_BATCH_PER_DEVICE"
        ) from error


def _type_name(value: object) -> str:
    return "None" if value is None else f"a {type(value).__name__}"
