"""Run an exported model over one split, only at the shapes at which the export was seen to equal the model.

On a CPU padding is what there is to win, and large batches lose to the caches; so rows are sorted by length and a batch
holds a bounded number of padded tokens, however many rows that is.
"""

from __future__ import annotations

import json
import logging
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from mlpipe.batching import EncodedRows, budget_batches
from mlpipe.errors import DataError, JobError
from mlpipe.specs import Signature, ValidShapes

MAX_BATCH_UNRAGGED = 32
"""Rows of a batch where no input is ragged: such a row (an image, say) may be large, and has no tokens to count."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class ExportedModel:
    """A TorchScript model and how it is to be called: positionally, with tensors in the order of `signature.inputs`."""

    module: Any
    signature: Signature

    @classmethod
    def load(cls, folder: Path) -> ExportedModel:
        """Load `model.pt` and `signature.json` of a published model on the CPU.

        Loading TorchScript runs code that the file holds, so this must be called only on a folder whose files were
        checked against their manifest. Raises JobError where this version of torch cannot read the file.
        """
        signature = Signature.from_json(json.loads((folder / "signature.json").read_bytes()))
        with warnings.catch_warnings():
            # TorchScript is the format that model.pt promises; torch says at every load that it prefers another.
            warnings.filterwarnings("ignore", message=r"`torch\.jit\.load` is", category=DeprecationWarning)
            try:
                module = torch.jit.load(str(folder / "model.pt"), map_location="cpu")  # type: ignore[no-untyped-call]
            except (RuntimeError, ValueError) as error:
                raise JobError(
                    f"model.pt of {signature.model_name} cannot be loaded by torch {torch.__version__}: {error}",
                    hint="it may have been exported by a newer version of torch",
                ) from error
        return cls(module.eval(), signature)

    @property
    def padding(self) -> dict[str, int | float]:
        """Input names in the order of the call, each with its padding value."""
        return {spec.name: spec.padding_value for spec in self.signature.inputs}


@dataclass(frozen=True)
class Batch:
    """Rows that go through the model together, their ragged inputs padded to `length`."""

    rows: NDArray[np.int64]
    length: int


def plan_batches(lengths: NDArray[np.int64], shapes: ValidShapes, token_budget: int) -> list[Batch]:
    """Batches that hold each row once, at shapes where the export is right, shortest rows first.

    `lengths` are the rows' own lengths (n,). Where the model takes any batch size, a batch has one row or at most
    `token_budget` padded tokens; else it has at most `shapes.batch_size` rows, and `predict_batch` fills it up. A model
    that is not `batch_invariant` gets rows of one length at a time. Rows shorter than `min_length` are padded up to it,
    but not where padding would change what the model says.
    """
    padded = _padded_lengths(lengths, shapes)
    is_mixed = shapes.batch_invariant or not shapes.seq_dynamic
    groups = [np.arange(len(padded))] if is_mixed else [np.flatnonzero(padded == size) for size in np.unique(padded)]
    plan = []
    for group in groups:
        if not shapes.batch_dynamic:
            parts = budget_batches(padded[group], token_budget=np.iinfo(np.int64).max, max_batch=shapes.batch_size)
        else:
            max_batch = len(group) if shapes.max_length is not None else MAX_BATCH_UNRAGGED
            parts = budget_batches(padded[group], token_budget, max_batch)
        plan += [Batch(group[part], int(padded[group[part]].max())) for part in parts]
    return plan


def _padded_lengths(lengths: NDArray[np.int64], shapes: ValidShapes) -> NDArray[np.int64]:
    """The length to which each row has to be padded at least."""
    if shapes.max_length is None:
        return lengths
    if not shapes.seq_dynamic:
        return np.full_like(lengths, shapes.max_length)
    return np.maximum(lengths, shapes.min_length or 0) if shapes.batch_invariant else lengths


def predict_logits(model: ExportedModel, rows: EncodedRows, token_budget: int) -> NDArray[np.float32]:
    """Logits of all rows in their order: float32 (n, num_labels).

    Rows longer than the probe covered run as they are and are counted in one warning. Raises DataError where an input
    is missing or a row does not fit a model of fixed length, and JobError where the model fails or returns a number
    that is not finite; both name the row.
    """
    check_rows(model, rows)
    logits = np.empty((len(rows), model.signature.num_labels), dtype=np.float32)
    for batch in plan_batches(rows.lengths, model.signature.shapes, token_budget):
        logits[batch.rows] = predict_batch(model, rows, batch)
    return logits


def check_rows(model: ExportedModel, rows: EncodedRows) -> None:
    """Raise DataError where these rows cannot go through the model; warn where they leave what its probe covered."""
    shapes, name = model.signature.shapes, model.signature.model_name
    missing = [key for key in model.padding if key not in rows.inputs]
    if missing:
        raise DataError(
            f"{name} takes an input {missing[0]!r}, which these rows do not have; they have {', '.join(rows.inputs)}",
            hint="the model was trained on rows that were encoded in another way",
        )
    if shapes.max_length is None:
        return
    too_long = np.flatnonzero(rows.lengths > shapes.max_length)
    if too_long.size and not shapes.seq_dynamic:
        row = int(too_long[0])
        raise DataError(
            f"row {rows.ids[row]!r} has length {rows.lengths[row]}, but {name} takes exactly {shapes.max_length}",
            hint=f"encode() has to cut every row to at most {shapes.max_length} for this model",
        )
    if too_long.size:
        logger.warning(
            "%s: %d of %d rows are longer than the %d at which its export was checked",
            *(name, too_long.size, len(rows), shapes.max_length),
        )


def predict_batch(model: ExportedModel, rows: EncodedRows, batch: Batch) -> NDArray[np.float32]:
    """Logits of one batch, float32 (rows, num_labels).

    A model of fixed batch size gets the last row again and again until the batch is full; those logits are dropped.
    Raises JobError where the model fails, returns another shape, or returns a number that is not finite.
    """
    signature = model.signature
    taken = batch.rows
    if not signature.shapes.batch_dynamic:
        taken = np.pad(taken, (0, signature.shapes.batch_size - len(taken)), mode="edge")
    inputs = rows.collate(taken, model.padding, batch.length)
    ids = [rows.ids[row] for row in batch.rows]
    try:
        with torch.inference_mode():
            output = model.module(*inputs.values())
    except (RuntimeError, IndexError) as error:
        # The first lines of a TorchScript error are its own traceback; the cause comes last.
        cause = str(error).strip().splitlines()[-1]
        raise JobError(f"{signature.model_name} failed on {_named(ids)}: {cause}") from error
    expected = (len(taken), signature.num_labels)
    if tuple(output.shape) != expected:
        raise JobError(f"{signature.model_name} returned logits {tuple(output.shape)}, expected {expected}")
    logits: NDArray[np.float32] = np.asarray(output.to(torch.float32), dtype=np.float32)[: len(ids)]
    wrong = np.flatnonzero(~np.isfinite(logits).all(axis=1))
    if wrong.size:
        raise JobError(
            f"{signature.model_name} returned logits that are not finite for {_named([ids[i] for i in wrong])}",
            hint="its training may have diverged (a lower LEARNING_RATE helps), or an encoded input is not finite",
        )
    return logits


def _named(ids: Sequence[str]) -> str:
    """The rows as a message names them: all ids of a few, the first of many."""
    shown = ", ".join(repr(name) for name in ids[:3])
    return f"row {shown}" if len(ids) == 1 else f"rows {shown}{f' and {len(ids) - 3} more' if len(ids) > 3 else ''}"


def softmax(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    """Probabilities (n, num_labels) of logits (n, num_labels), computed in float64."""
    shifted = logits.astype(np.float64)
    powers = np.exp(shifted - shifted.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True), dtype=np.float32)


def sigmoid(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    """The probability (n, num_labels) of each label by itself, computed in float64."""
    return np.asarray(1 / (1 + np.exp(-np.clip(logits.astype(np.float64), -700, 700))), dtype=np.float32)
