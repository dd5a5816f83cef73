"""Writes the three splits of a prepared snapshot: raw columns, id, class index and every model's encoded inputs."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pyarrow as pa
from datasets.table import MemoryMappedTable
from numpy.typing import NDArray

from mlpipe.errors import DataError
from mlpipe.snapshots.encoding import ModelInputs
from mlpipe.snapshots.progress import Progress
from mlpipe.snapshots.row_facts import class_indices
from mlpipe.snapshots.rows import ID, LABEL, RESERVED, SPLIT
from mlpipe.snapshots.rows_file import ReconciledRows
from mlpipe.snapshots.splits import DROPPED, SPLITS
from mlpipe.specs import column_name

EncodeBatch = Callable[[str, dict[str, list[Any]], list[str]], Mapping[str, Any]]
"""Model name, examples without label and split, ids of the rows -> inputs as the user returns them."""


@dataclass(frozen=True)
class SplitRows:
    """The reconciled rows, the label names by class index, and the split of each row, or DROPPED."""

    rows: ReconciledRows
    labels: Sequence[str]
    splits: NDArray[np.int64]


def write_splits(
    source: SplitRows, model_names: tuple[str, ...], encode: EncodeBatch, folder: Path
) -> dict[str, ModelInputs]:
    """Encode every row once and save train/, validation/ and test/ below `folder`; returns the inputs per model.

    Rows keep their order. The splits are written batch by batch beside `folder`'s content first, because a saved data
    set starts with how much of it there is.
    """
    inputs = {model_name: ModelInputs(model_name) for model_name in model_names}
    with tempfile.TemporaryDirectory(dir=folder, prefix=".splits-") as scratch:
        paths = [Path(scratch) / f"{split}.arrow" for split in SPLITS]
        _write_streams(_encoded_batches(source, inputs, encode), paths)
        for split, path in zip(SPLITS, paths, strict=True):
            _save_data_set(path, folder / split)
    return inputs


def _encoded_batches(
    source: SplitRows, inputs: Mapping[str, ModelInputs], encode: EncodeBatch
) -> Iterator[tuple[pa.RecordBatch, NDArray[np.int64]]]:
    """The rows that stay, with all their columns, and the split of each."""
    progress = Progress("encoded", source.rows.num_rows)
    start = 0
    for batch in source.rows.batches():
        splits = source.splits[start : start + len(batch)]
        stays = splits != DROPPED
        kept = batch.filter(pa.array(stays))
        if kept.num_rows:
            columns = _raw_columns(kept, source.labels)
            columns |= _encoded_columns(kept, inputs, encode)
            yield pa.RecordBatch.from_pydict(columns), splits[stays]
        start += len(batch)
        progress.report(start)


def _raw_columns(batch: pa.RecordBatch, labels: Sequence[str]) -> dict[str, pa.Array]:
    own = {name: batch.column(name) for name in batch.schema.names if name not in RESERVED}
    return {ID: batch.column(ID), LABEL: class_indices(batch.column(LABEL), labels), **own}


def _encoded_columns(
    batch: pa.RecordBatch, inputs: Mapping[str, ModelInputs], encode: EncodeBatch
) -> dict[str, pa.Array]:
    ids = batch.column(ID).to_pylist()
    columns: dict[str, pa.Array] = {}
    for model_name, model_inputs in inputs.items():
        # Each model gets lists of its own: what one encode() changes in place, the next must not see.
        examples = batch.drop_columns([name for name in (LABEL, SPLIT) if name in batch.schema.names]).to_pydict()
        encoded = model_inputs.add(encode(model_name, examples, ids), ids)
        named = {column_name(model_name, key, tuple(inputs)): array for key, array in encoded.items()}
        taken = (columns.keys() | set(batch.schema.names) | set(RESERVED)) & named.keys()
        if taken:
            raise DataError(
                f"encode() for model {model_name} returns {min(taken)!r}, which is a column of the rows already",
                hint="rename the input in encode(), or the column in reconcile()",
            )
        columns |= named
    return columns


def _write_streams(encoded: Iterator[tuple[pa.RecordBatch, NDArray[np.int64]]], paths: Sequence[Path]) -> None:
    with ExitStack() as stack:
        writers: list[pa.RecordBatchStreamWriter] = []
        for batch, splits in encoded:
            if not writers:
                writers = [stack.enter_context(pa.ipc.new_stream(str(path), batch.schema)) for path in paths]
            for number, writer in enumerate(writers):
                part = batch.filter(pa.array(splits == number))
                if part.num_rows:
                    writer.write_batch(part)


def _save_data_set(stream: Path, folder: Path) -> None:
    """Save with a fingerprint that depends on the content alone, so that equal data gives equal files."""
    with stream.open("rb") as file:
        fingerprint = hashlib.file_digest(file, "sha256").hexdigest()[:16]
    datasets.disable_progress_bars()
    table = MemoryMappedTable.from_file(str(stream))
    datasets.Dataset(table, fingerprint=fingerprint).save_to_disk(str(folder))
