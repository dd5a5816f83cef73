"""The file of reconciled rows: written batch by batch while its schema may still widen, read back batch by batch.

The columns are id, label and, where the user gives one, split (all strings; the label of multi-label data a list of
them), then the user's own in the order in which they first appear.
"""

from __future__ import annotations

import tempfile
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import pyarrow as pa

from mlpipe.errors import DataError, StorageError
from mlpipe.snapshots.rows import ID, LABEL, SPLIT, Row, row_error

ROWS_FILE = "rows.arrow"
ROWS_PER_BATCH = 1_000
BYTES_PER_BATCH = 64 * 2**20
"""A batch is cut short at about this size, so that 1,000 large images are not held at once."""

_CONVERSION_ERRORS = (pa.ArrowException, ValueError, TypeError, OverflowError)


def batches(rows: Iterable[Row]) -> Iterator[list[Row]]:
    """Cut the stream into lists of at most 1,000 rows and about 64 MiB of text and bytes."""
    batch: list[Row] = []
    size = 0
    for row in rows:
        batch.append(row)
        size += sum(_size(value) for value in row.columns.values())
        if len(batch) == ROWS_PER_BATCH or size >= BYTES_PER_BATCH:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


class RowsWriter:
    """Writes `path` in the Arrow IPC file format; a context manager that completes the file where nothing failed.

    Types widen as rows arrive (null to anything, int to float, new fields of nested values). Each widening starts a new
    part file, and the parts are copied into `path` at the end, batch by batch. Equal rows give equal bytes.
    """

    def __init__(self, path: Path) -> None:
        self.schema = pa.schema([])
        self._path = path
        self._folder = tempfile.TemporaryDirectory(dir=path.parent, prefix=".parts-")
        self._parts: list[Path] = []
        self._writer: pa.RecordBatchFileWriter | None = None

    def __enter__(self) -> RowsWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._folder:
            self._close_part()
            if kind is not None:
                return
            try:
                self._merge()
            except pa.ArrowException as error:
                raise DataError(
                    f"the rows from reconcile() do not fit one schema: {error}", hint="use one type per column"
                ) from error

    def append(self, rows: Sequence[Row]) -> None:
        """Write one batch; DataError names the first row that does not fit the columns before it."""
        try:
            schema, batch = _widened(self.schema, rows)
        except _CONVERSION_ERRORS as error:
            raise _misfit(self.schema, rows) from error
        if self._writer is None or schema != self.schema:
            self._close_part()
            self.schema = schema
            self._parts.append(Path(self._folder.name) / f"{len(self._parts)}.arrow")
            self._writer = pa.ipc.new_file(str(self._parts[-1]), schema)
        self._writer.write_batch(batch)

    def _close_part(self) -> None:
        if self._writer is not None:
            self._writer.close()
            self._writer = None

    def _merge(self) -> None:
        with pa.ipc.new_file(str(self._path), self.schema) as writer:
            for part in self._parts:
                with pa.memory_map(str(part)) as source:
                    reader = pa.ipc.open_file(source)
                    for number in range(reader.num_record_batches):
                        writer.write_batch(_fitted(reader.get_batch(number), self.schema))


class ReconciledRows:
    """The rows of a reconciled snapshot, mapped into memory and read batch by batch."""

    def __init__(self, folder: Path) -> None:
        path = folder / ROWS_FILE
        try:
            self._reader = pa.ipc.open_file(pa.memory_map(str(path)))
        except (OSError, pa.ArrowException) as error:
            raise StorageError(f"{path} cannot be read as an Arrow file: {error}") from error
        self.schema = self._reader.schema
        self.num_rows = sum(batch.num_rows for batch in self.batches())

    def batches(self) -> Iterator[pa.RecordBatch]:
        """Every batch in order, of at most 1,000 rows."""
        for number in range(self._reader.num_record_batches):
            yield self._reader.get_batch(number)


def _size(value: Any) -> int:
    """About how many bytes a value takes; the elements of a list are taken to be alike."""
    if isinstance(value, str | bytes):
        return len(value)
    if isinstance(value, list):
        return len(value) * _size(value[0]) if value else 0
    return 8


def _widened(schema: pa.Schema, rows: Sequence[Row]) -> tuple[pa.Schema, pa.RecordBatch]:
    """The schema that holds both what came before and these rows, and the rows in it."""
    label_type = pa.string() if isinstance(rows[0].label, str) else pa.list_(pa.string())
    arrays = {
        ID: pa.array([row.id for row in rows], pa.string()),
        LABEL: pa.array([row.label for row in rows], label_type),
    }
    if rows[0].split is not None:
        arrays[SPLIT] = pa.array([str(row.split) for row in rows], pa.string())
    for name in dict.fromkeys(name for row in rows for name in row.columns):
        arrays[name] = pa.array([row.columns.get(name) for row in rows])
    batch = pa.RecordBatch.from_pydict(arrays)
    wider = pa.unify_schemas([schema, batch.schema], promote_options="permissive")
    return wider, _fitted(batch, wider)


def _fitted(batch: pa.RecordBatch, schema: pa.Schema) -> pa.RecordBatch:
    """`batch` with every column of `schema`, in its order and types; columns that it lacks are null."""
    names = set(batch.schema.names)
    arrays = [
        batch.column(field.name).cast(field.type) if field.name in names else pa.nulls(batch.num_rows, field.type)
        for field in schema
    ]
    return pa.RecordBatch.from_arrays(arrays, schema=schema)


def _misfit(schema: pa.Schema, rows: Sequence[Row]) -> DataError:
    """Name the first row with which the batch no longer fits, and its column."""

    def reason(candidates: Sequence[Row]) -> str:
        try:
            _widened(schema, candidates)
        except _CONVERSION_ERRORS as error:
            return str(error)
        return ""

    at = bisect_left(range(len(rows)), True, key=lambda last: bool(reason(rows[: last + 1])))
    row = rows[at]
    for name, value in row.columns.items():
        only = [Row(other.number, "", other.label, None, {name: other.columns.get(name)}) for other in rows[: at + 1]]
        problem = reason(only)
        if problem:
            return row_error(
                row.number,
                f"holds a {type(value).__name__} in column {name!r} that does not fit: {problem}",
                "use one type per column, of text, numbers, bytes, or lists and mappings of them",
            )
    return row_error(row.number, f"has an id or a label that cannot be stored: {reason(rows[: at + 1])}")
