"""The prepare job: reconciled rows, split and encoded for every model of the experiment."""

from __future__ import annotations

import json
import logging
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from mlpipe.errors import DataError, UserFunctionError
from mlpipe.jobs.environment import JobContext
from mlpipe.manifest import to_bytes
from mlpipe.settings import Data
from mlpipe.snapshots.data_card import DATA_CARD, Groups, Lengths, NearDuplicates, PreparedCard, digest_of_test_set
from mlpipe.snapshots.encoding import ModelInputs
from mlpipe.snapshots.labels import ordered_labels
from mlpipe.snapshots.near_duplicates import find_near_duplicates
from mlpipe.snapshots.prepared import SplitRows, write_splits
from mlpipe.snapshots.row_facts import (
    commonest_labels,
    count_by_split,
    count_labels,
    data_columns,
    is_multi_label,
    read_row_facts,
)
from mlpipe.snapshots.rows import ID, LABEL
from mlpipe.snapshots.rows_file import ReconciledRows
from mlpipe.snapshots.splits import DROPPED, SPLITS, TEST, TRAIN, VALIDATION, Assignment, RowFacts, assign_splits
from mlpipe.specs import Encoding, Split, TaskType
from mlpipe.user_functions import user_code

_NAMED_LABELS = 10

logger = logging.getLogger(__name__)


def run(context: JobContext) -> None:
    """Write the prepared snapshot: train/, validation/, test/, encoding/, id2label.json and data_card.json.

    Raises DataError where a split would be empty or a label without a training row, and where encode() returns what no
    model can take.
    """
    data = context.settings.data
    rows = ReconciledRows(context.channels["reconciled"])
    label_counts = count_labels(rows)
    labels = ordered_labels(label_counts)
    _check_group_key(rows, data.group_key)
    facts = read_row_facts(rows, labels, label_counts, data.group_key, context.settings.experiment.seed)
    assignment = assign_splits(facts, data.validation_fraction, data.test_fraction)
    counts = count_by_split(rows, labels, assignment.splits)
    in_split = np.array([np.count_nonzero(assignment.splits == number) for number in range(len(SPLITS))])
    _check_splits(in_split, counts[TRAIN], labels, data)
    source = SplitRows(rows, labels, assignment.splits)
    inputs = _encode(context, source)
    encoding = Encoding(
        task_type=TaskType.MULTI_LABEL if is_multi_label(rows) else TaskType.SINGLE_LABEL,
        model_names=context.settings.experiment.model_names,
        labels=tuple(labels),
        inputs={model_name: model_inputs.described() for model_name, model_inputs in inputs.items()},
    )
    card = PreparedCard(
        task_type=encoding.task_type,
        rows=_by_split(in_split),
        labels={name: _by_split(counts[:, index]) for index, name in enumerate(labels)},
        majority=commonest_labels(rows, labels, assignment.splits),
        labels_without_test_rows=_labels_without(counts[TEST], labels),
        encoded_lengths=_encoded_lengths(inputs, assignment.splits),
        dropped_rows={
            "identical_to_test": assignment.identical_to_test,
            "identical_to_validation": assignment.identical_to_validation,
        },
        groups=_groups(facts, assignment, data.group_key),
        near_duplicates=_near_duplicates(rows, assignment, data),
        test_sha256=digest_of_test_set(_test_pairs(source)),
        reconciled=json.loads((context.channels["reconciled"] / DATA_CARD).read_bytes()),
    )
    _write_documents(context.output, encoding, card)
    _log_summary(card)


def _encode(context: JobContext, source: SplitRows) -> dict[str, ModelInputs]:
    settings = context.settings.for_data_functions()
    model_names = context.settings.experiment.model_names
    folder = context.output / "encoding" / "processors"
    processors = {name: context.functions.load_processor(name, settings) for name in model_names}
    for name, processor in processors.items():
        # Before the first batch: encoding leaves its truncation and padding behind in a fast tokenizer.
        _save_processor(processor, name, folder / name)

    def encode(model_name: str, examples: dict[str, list[Any]], ids: list[str]) -> Mapping[str, Any]:
        return context.functions.encode(examples, processors[model_name], model_name, settings, ids=ids)

    return write_splits(source, model_names, encode, context.output)


def _save_processor(processor: Any, model_name: str, folder: Path) -> None:
    if processor is None:
        return
    if not callable(getattr(processor, "save_pretrained", None)):
        raise UserFunctionError(
            f"load_processor() for model {model_name} returned a {type(processor).__name__} without save_pretrained",
            hint="return a tokenizer or processor of transformers, an object with save_pretrained(folder), or None",
        )
    folder.mkdir(parents=True)
    with user_code("save_pretrained() of the processor from load_processor()", f"a folder, for model {model_name}"):
        processor.save_pretrained(str(folder))


def _check_group_key(rows: ReconciledRows, group_key: str | None) -> None:
    columns = data_columns(rows)
    if group_key is not None and group_key not in columns:
        raise DataError(
            f"[DATA] GROUP_KEY names the column {group_key!r}, but the reconciled rows have {', '.join(columns)}",
            hint="set GROUP_KEY to one of these, or yield the column in reconcile()",
        )


def _check_splits(
    in_split: NDArray[np.int64], train_counts: NDArray[np.int64], labels: Sequence[str], data: Data
) -> None:
    fractions = {VALIDATION: data.validation_fraction, TEST: data.test_fraction}
    for number, split in enumerate(SPLITS):
        if not in_split[number]:
            raise DataError(f"the {split} split is empty", hint=_hint_for_empty(split, fractions.get(number)))
    missing = _labels_without(train_counts, labels)
    if missing:
        shown = ", ".join(missing[:_NAMED_LABELS]) + (", ..." if len(missing) > _NAMED_LABELS else "")
        raise DataError(
            f"{len(missing)} of {len(labels)} labels have no training row: {shown}",
            hint="yield training rows with these labels, or leave the labels out",
        )


def _hint_for_empty(split: Split, fraction: float | None) -> str:
    if fraction is None:
        return "give rows the split 'train', or no row a split"
    key = f"{split.upper()}_FRACTION"
    return f"raise [DATA] {key} (now {fraction}), yield more rows or smaller groups, or some rows with this split"


def _by_split(counts: NDArray[np.int64]) -> dict[str, int]:
    return {split: int(count) for split, count in zip(SPLITS, counts, strict=True)}


def _labels_without(counts: NDArray[np.int64], labels: Sequence[str]) -> tuple[str, ...]:
    return tuple(label for label, count in zip(labels, counts, strict=True) if count == 0)


def _encoded_lengths(inputs: Mapping[str, ModelInputs], splits: NDArray[np.int64]) -> dict[str, dict[str, Lengths]]:
    kept = splits[splits != DROPPED]
    longest = {name: model_inputs.longest() for name, model_inputs in inputs.items()}
    return {
        name: {split: Lengths.of(Counter(lengths[kept == number].tolist())) for number, split in enumerate(SPLITS)}
        for name, lengths in longest.items()
        if lengths is not None
    }


def _groups(facts: RowFacts, assignment: Assignment, group_key: str | None) -> Groups | None:
    if group_key is None or facts.groups is None:
        return None
    return Groups(group_key, len(np.unique(facts.groups)), assignment.groups_across_splits)


def _near_duplicates(rows: ReconciledRows, assignment: Assignment, data: Data) -> NearDuplicates | None:
    if data.text_column is None or not data.near_duplicate_threshold:
        return None
    return find_near_duplicates(rows, assignment.splits, data.text_column, data.near_duplicate_threshold)


def _test_pairs(source: SplitRows) -> Iterator[tuple[str, str | list[str]]]:
    """The (id, label name) pairs of the test rows, by id; of multi-label data with the sorted names."""
    start, parts = 0, []
    for batch in source.rows.batches():
        is_test = pa.array(source.splits[start : start + len(batch)] == TEST)
        parts.append(batch.select([ID, LABEL]).filter(is_test))
        start += len(batch)
    table = pa.Table.from_batches(parts)
    in_order = table.take(pc.sort_indices(table, sort_keys=[(ID, "ascending")]))
    for batch in in_order.to_batches(max_chunksize=1_000):
        yield from zip(batch.column(ID).to_pylist(), batch.column(LABEL).to_pylist(), strict=True)


def _write_documents(output: Path, encoding: Encoding, card: PreparedCard) -> None:
    (output / "encoding").mkdir(exist_ok=True)
    (output / "encoding" / "encoding.json").write_bytes(to_bytes(encoding.to_json()))
    id2label = {str(index): name for index, name in enumerate(encoding.labels)}
    (output / "id2label.json").write_bytes(to_bytes(id2label))
    (output / DATA_CARD).write_bytes(to_bytes(card.to_json()))


def _log_summary(card: PreparedCard) -> None:
    rows = ", ".join(f"{split} {count:,}" for split, count in card.rows.items())
    logger.info("prepared %s rows of %d labels", rows, len(card.labels))
    for reason, count in card.dropped_rows.items():
        if count:
            logger.warning("dropped %s rows %s", f"{count:,}", reason.replace("_", " "))
    if card.labels_without_test_rows:
        logger.warning("labels without a test row: %s", ", ".join(card.labels_without_test_rows))
    if card.groups and card.groups.across_splits:
        logger.warning("%s groups lie in more than one of the given splits", f"{card.groups.across_splits:,}")
    for where, leak in card.near_duplicates.leaks.items() if card.near_duplicates else ():
        if leak.near:
            split, _, other = where.partition("_in_")
            logger.warning(
                "%s %s rows have a text that is nearly or exactly that of a %s row",
                *(f"{leak.near:,}", split, other),
            )
