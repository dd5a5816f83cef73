"""The reconcile job: the user's labelled rows, checked and filed as one Arrow file with its data card."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import pyarrow as pa

from mlpipe.errors import DataError
from mlpipe.jobs.environment import JobContext
from mlpipe.manifest import to_bytes
from mlpipe.settings import Data
from mlpipe.snapshots.data_card import DATA_CARD, ReconciledCard, TextLengths
from mlpipe.snapshots.labels import ordered_labels
from mlpipe.snapshots.progress import Progress
from mlpipe.snapshots.rows import RESERVED, CheckedRows, Row
from mlpipe.snapshots.rows_file import ROWS_FILE, RowsWriter, batches
from mlpipe.specs import TaskType

logger = logging.getLogger(__name__)


def run(context: JobContext) -> None:
    """Write rows.arrow and data_card.json into the job's output.

    Rows stream from the user's function to the disk. Raises DataError, with the row's number, for rows that a snapshot
    cannot hold, and where a column that DATA names does not exist.
    """
    settings = context.settings.for_data_functions()
    rows = CheckedRows(context.functions.reconcile(settings))
    lengths = TextLengths(settings.data.text_column)
    progress = Progress("reconciled")
    with RowsWriter(context.output / ROWS_FILE) as writer:
        for batch in batches(rows):
            writer.append(batch)
            _count_lengths(lengths, batch)
            progress.report(rows.rows_yielded)
    _check_columns(writer.schema, settings.data)
    card = _card(rows, writer.schema, lengths)
    (context.output / DATA_CARD).write_bytes(to_bytes(card.to_json()))
    logger.info(
        "reconciled %s rows with %d labels, dropped %s exact duplicates",
        f"{card.rows:,}",
        len(card.labels),
        f"{card.duplicates_dropped:,}",
    )
    if card.conflicting_contents:
        logger.warning("%s contents occur with more than one label", f"{card.conflicting_contents:,}")


def _count_lengths(lengths: TextLengths, batch: Sequence[Row]) -> None:
    for row in batch:
        lengths.add(row.columns)


def _check_columns(schema: pa.Schema, data: Data) -> None:
    columns = [name for name in schema.names if name not in RESERVED]
    for key, name in (("TEXT_COLUMN", data.text_column), ("GROUP_KEY", data.group_key)):
        if name is not None and name not in columns:
            raise DataError(
                f"[DATA] {key} names the column {name!r}, but the rows from reconcile() have {', '.join(columns)}",
                hint=f"set {key} to one of these, or yield the column",
            )
    if data.text_column is not None and not pa.types.is_string(schema.field(data.text_column).type):
        found = schema.field(data.text_column).type
        raise DataError(f"[DATA] TEXT_COLUMN names {data.text_column!r}, which holds {found}", hint="it must hold text")


def _card(rows: CheckedRows, schema: pa.Schema, lengths: TextLengths) -> ReconciledCard:
    return ReconciledCard(
        task_type=TaskType.MULTI_LABEL if rows.is_multi_label else TaskType.SINGLE_LABEL,
        rows=rows.rows_kept,
        rows_yielded=rows.rows_yielded,
        duplicates_dropped=rows.duplicates_dropped,
        duplicate_ids=tuple(rows.duplicate_ids),
        conflicting_contents=rows.conflicting_contents(),
        columns={field.name: str(field.type) for field in schema},
        labels={name: rows.labels[name] for name in ordered_labels(rows.labels)},
        characters=lengths.characters(),
        words=lengths.words(),
    )
