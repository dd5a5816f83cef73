from __future__ import annotations

import itertools
import pathlib
from pathlib import Path

import pyarrow as pa
import pytest

from mlpipe.errors import DataError, StorageError
from mlpipe.snapshots.rows import CheckedRows, Row
from mlpipe.snapshots.rows_file import ReconciledRows, RowsWriter, batches


def write(folder: Path, columns: list[dict], name: str = "rows.arrow") -> Path:
    folder.mkdir(exist_ok=True)
    rows = [Row(number, f"i{number}", "ab"[number % 2], None, values) for number, values in enumerate(columns, start=1)]
    with RowsWriter(folder / name) as writer:
        for batch in batches(rows):
            writer.append(batch)
    return folder / name


def read(path: Path) -> pa.Table:
    return pa.Table.from_batches(list(ReconciledRows(path.parent).batches()))


def test_rows_come_back_in_batches_of_a_thousand(tmp_path):
    path = write(tmp_path, [{"text": str(number)} for number in range(2_500)])
    rows = ReconciledRows(path.parent)
    assert [batch.num_rows for batch in rows.batches()] == [1_000, 1_000, 500]
    assert rows.num_rows == 2_500
    assert rows.schema.names == ["id", "label", "text"]
    assert read(path).column("text").to_pylist() == [str(number) for number in range(2_500)]


def test_a_schema_that_widens_between_batches_is_unified(tmp_path):
    columns = [
        *[{"n": number, "gap": None, "nested": [], "more": {"a": 1}} for number in range(1_000)],
        *[{"n": 0.5, "gap": "x", "nested": ["y"], "more": {"b": 2}, "late": True} for _ in range(1_000)],
        *[{"n": 3} for _ in range(10)],
    ]
    table = read(write(tmp_path, columns))
    assert table.schema.names == ["id", "label", "n", "gap", "nested", "more", "late"]
    assert [str(table.schema.field(name).type) for name in ("n", "gap", "late")] == ["double", "string", "bool"]
    ends = table.take([0, 1_000, 2_009]).select(["n", "gap", "nested", "more", "late"]).to_pylist()
    assert ends == [
        {"n": 0.0, "gap": None, "nested": [], "more": {"a": 1, "b": None}, "late": None},
        {"n": 0.5, "gap": "x", "nested": ["y"], "more": {"a": None, "b": 2}, "late": True},
        {"n": 3.0, "gap": None, "nested": None, "more": None, "late": None},
    ]


def test_equal_rows_give_equal_bytes_and_leave_nothing_else(tmp_path):
    columns = [{"n": number if number < 1_500 else 0.5, "text": str(number)} for number in range(2_000)]
    first, second = (write(tmp_path / name, columns) for name in "ab")
    assert first.read_bytes() == second.read_bytes()
    assert [path.name for path in first.parent.iterdir()] == ["rows.arrow"]


@pytest.mark.parametrize("first_batch", [3, 1_000])
@pytest.mark.parametrize(
    ("good", "bad"),
    [
        ({"x": [1]}, {"x": ["a"]}),
        ({"x": {"a": 1}}, {"x": {"a": "b"}}),
        ({"x": 1}, {"x": 2**64}),
        ({"x": "a"}, {"x": "\ud800"}),
        ({"x": {"a": 1}}, {"x": {1: 1}}),
    ],
)
def test_a_value_that_does_not_fit_is_named_with_its_row_and_column(tmp_path, first_batch, good, bad):
    columns = [*itertools.repeat({"y": 1, **good}, first_batch), *[good, {"y": 2, **bad}, good, {"y": 3, **bad}]]
    with pytest.raises(DataError, match=f"row {first_batch + 2} .* in column 'x' that does not fit"):
        write(tmp_path, columns)
    assert list(tmp_path.iterdir()) == []


def test_a_value_that_arrow_cannot_hold_is_named_with_its_type(tmp_path):
    with pytest.raises(DataError, match=r"row 1 .* holds a PurePosixPath in column 'path'"):
        write(tmp_path, [{"path": pathlib.PurePosixPath("a.png")}])


def test_nested_integers_that_no_float_holds_do_not_become_floats(tmp_path):
    with pytest.raises(DataError, match="do not fit one schema"):
        write(tmp_path, [*[{"x": [2**60 + 1]}] * 1_000, {"x": [0.5]}])


def test_a_batch_of_large_values_is_cut_short():
    image, boxes = b"x" * (30 * 2**20), [[0.5, 0.5]] * (2 * 2**20)
    large = [Row(number, "", "", None, {"image": image}) for number in range(5)]
    nested = [Row(number, "", "", None, {"boxes": boxes}) for number in range(5)]
    assert [len(batch) for batch in batches(large)] == [3, 2]
    assert [len(batch) for batch in batches(nested)] == [2, 2, 1]


def test_a_user_split_is_a_column(tmp_path):
    rows = [{"x": 1, "label": "a", "split": "train"}, {"x": 2, "label": "b", "split": "test"}]
    with RowsWriter(tmp_path / "rows.arrow") as writer:
        for batch in batches(CheckedRows(rows)):
            writer.append(batch)
    assert read(tmp_path / "rows.arrow").column("split").to_pylist() == ["train", "test"]


def test_a_file_that_is_no_arrow_file_is_reported(tmp_path):
    (tmp_path / "rows.arrow").write_bytes(b"not arrow")
    with pytest.raises(StorageError, match="cannot be read as an Arrow file"):
        ReconciledRows(tmp_path)
