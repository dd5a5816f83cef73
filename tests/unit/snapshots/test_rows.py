from __future__ import annotations

import datetime
import pathlib

import numpy as np
import pytest

from mlpipe.errors import DataError
from mlpipe.snapshots.rows import CheckedRows
from mlpipe.specs import Split

GOOD = [{"text": "one", "label": "a"}, {"text": "two", "label": "b"}]


def rows_of(*more: object) -> list[object]:
    return [*GOOD, *more]


def read(yielded) -> tuple[CheckedRows, list]:
    checked = CheckedRows(yielded)
    return checked, list(checked)


def text_rows(count: int) -> list[dict]:
    return [{"text": f"text {number}", "label": "ab"[number % 2]} for number in range(count)]


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        ({"text": "x"}, "has no `label`\n.*; its other columns are text"),
        ({"text": "x", "label": None}, "has no `label`"),
        ({"text": "x", "label": ""}, "empty label"),
        ({"text": "x", "label": "  "}, "empty label"),
        ({"text": "x", "label": True}, "has the label True"),
        ({"text": "x", "label": 1.0}, "has the label 1.0"),
        ({"text": "x", "label": float("nan")}, "NaN in column 'label'"),
        ({"text": "x", "label": ["a", "b"]}, "but the labels before it are single values"),
        ({"text": "x", "label": np.array(["a"])}, "but the labels before it are single values"),
        ({"text": "x", "label": {"a", "b"}}, "has a set as a label"),
        ({"text": "x", "label": 1}, "int label 1, but the labels before it are str"),
        ({"text": "x", "label": "a", "id": "i"}, "is the first with `id`"),
        ({"text": "x", "label": "a", "split": "train"}, "is the first with `split`"),
        ({"text": float("nan"), "label": "a"}, "NaN in column 'text'"),
        ({"text": [0.5, float("nan")], "label": "a"}, "NaN in column 'text'"),
        ({"text": 7, "label": "a"}, "holds int in column 'text', but row 1 holds str there"),
        ({"text": b"x", "label": "a"}, "holds bytes in column 'text', but row 1 holds str there"),
        ({"label": "a"}, "no column besides"),
        ({}, "empty mapping"),
        (("x", "a"), "is a tuple"),
        (None, "is a NoneType"),
        ({"text": "x", "label": "a", 5: "y"}, "a column named 5"),
        ({"text": "x", "label": "a", "": "y"}, "a column named ''"),
    ],
)
def test_a_bad_row_is_named_by_its_number(row, problem):
    with pytest.raises(DataError, match=rf"row 3 from reconcile\(\) .*{problem}"):
        read(rows_of(row))


@pytest.mark.parametrize("value", ["", True, 1.5, ["a"]])
def test_an_id_is_text_or_a_whole_number(value):
    rows = [{"text": "x", "label": "a", "id": "1"}, {"text": "y", "label": "b", "id": value}]
    with pytest.raises(DataError, match=r"row 2 .* has the id"):
        read(rows)


@pytest.mark.parametrize("value", ["Test", "dev", 1, ["test"]])
def test_an_unknown_split_is_named_with_its_row(value):
    rows = [{"text": "x", "label": "a", "split": "train"}, {"text": "y", "label": "b", "split": value}]
    with pytest.raises(DataError, match=r"row 2 .* has the split") as error:
        read(rows)
    assert "train, validation, test" in error.value.hint


@pytest.mark.parametrize("name", ["id", "split"])
def test_a_row_without_the_id_or_split_that_others_have_is_named(name):
    rows = [{"text": "x", "label": "a", name: "train"}, {"text": "y", "label": "b", name: None}]
    with pytest.raises(DataError, match=rf"row 2 .* has no `{name}`"):
        read(rows)


def test_an_id_that_occurs_twice_names_both_rows():
    rows = [{**row, "id": number} for number, row in enumerate(text_rows(6))]
    rows[5]["id"] = "1"
    with pytest.raises(DataError, match=r"row 6 .* has the id '1', as row 2 has"):
        read(rows)


def test_no_rows_are_refused():
    with pytest.raises(DataError, match="yielded no rows"):
        read([])


def test_one_label_only_is_refused():
    with pytest.raises(DataError, match=r"all 3 rows .* have the label 'a'"):
        read([{"text": str(number), "label": "a"} for number in range(3)])


def test_integers_beyond_float_precision_do_not_mix_with_floats():
    rows = [{"x": 2**53 + 1, "label": "a"}, {"x": 1, "label": "b"}, {"x": 0.5, "label": "a"}]
    with pytest.raises(DataError, match=r"row 3 .* float in column 'x', but row 1 holds int beyond 2\*\*53"):
        read(rows)


def test_whole_numbers_and_floats_share_a_column():
    assert len(read([{"x": 1, "label": "a"}, {"x": 0.5, "label": "b"}, {"x": None, "label": "b"}])[1]) == 3


def test_types_that_are_not_known_are_left_to_arrow():
    rows = [{"x": datetime.date(2020, 1, 1), "label": "a"}, {"x": datetime.date(2020, 1, 2), "label": "b"}]
    assert len(read(rows)[1]) == 2
    assert len(read([{"x": pathlib.PurePosixPath(name), "label": name} for name in "ab"])[1]) == 2


def test_exact_duplicates_are_dropped_and_counted():
    checked, rows = read([*text_rows(4), *text_rows(2), {"label": "a", "text": "text 0", "note": None}])
    assert [row.number for row in rows] == [1, 2, 3, 4]
    assert (checked.rows_yielded, checked.duplicates_dropped, checked.duplicate_ids) == (7, 3, [])
    assert checked.labels == {"a": 2, "b": 2}


def test_duplicates_with_ids_of_their_own_are_dropped_with_examples():
    rows = [{**row, "id": f"r{number}"} for number, row in enumerate(text_rows(2) * 5)]
    checked, kept = read(rows)
    assert [row.id for row in kept] == ["r0", "r1"]
    assert (checked.duplicates_dropped, checked.duplicate_ids) == (8, ["r2", "r3", "r4", "r5", "r6"])


def test_the_same_text_with_another_label_or_split_is_no_duplicate():
    rows = [
        {"text": "x", "label": "a", "split": "train"},
        {"text": "x", "label": "b", "split": "train"},
        {"text": "x", "label": "a", "split": "test"},
        {"text": "y", "label": "a", "split": "test"},
    ]
    checked, kept = read(rows)
    assert len(kept) == 4
    assert [row.split for row in kept] == [Split.TRAIN, Split.TRAIN, Split.TEST, Split.TEST]
    assert checked.conflicting_contents() == 1


def test_a_row_without_an_id_gets_one_from_its_content():
    _, rows = read(text_rows(3))
    _, again = read(list(reversed(text_rows(3))))
    assert [row.id for row in rows] == [row.id for row in reversed(again)]
    assert len({row.id for row in rows}) == 3
    assert all(len(row.id) == 16 and int(row.id, 16) >= 0 for row in rows)


def test_int_labels_become_their_text_and_numpy_ones_are_as_good():
    _, rows = read([{"x": 1, "label": np.int64(7)}, {"x": 2, "label": 8}])
    assert [row.label for row in rows] == ["7", "8"]


def test_a_row_object_that_is_used_again_does_not_change_earlier_rows():
    def yielding_one_object():
        row = {"words": [], "label": ""}
        for number in range(3):
            row["words"].append(str(number))
            row["label"] = "ab"[number % 2]
            yield row

    assert [row.columns["words"] for row in CheckedRows(yielding_one_object())] == [["0"], ["0", "1"], ["0", "1", "2"]]


MULTI = [{"text": "one", "label": ["b", "a"]}, {"text": "two", "label": []}]


@pytest.mark.parametrize(
    ("label", "problem"),
    [
        ("a", "has the label 'a', but the labels before it are lists"),
        (["a", 1], "int label 1, but the labels before it are str"),
        (["a", "a"], "has the label 'a' twice"),
        (["a", None], "has None among its labels"),
        (["a", ""], "has the empty label"),
        ([["a"]], "has a list as a label"),
        (None, "has no `label`"),
    ],
)
def test_a_bad_list_of_labels_is_named_by_its_row(label, problem):
    with pytest.raises(DataError, match=rf"row 3 from reconcile\(\) .*{problem}"):
        read([*MULTI, {"text": "x", "label": label}])


@pytest.mark.parametrize(("rows", "label", "is_told"), [(MULTI, ["a", " "], True), (GOOD, " ", False)])
def test_only_rows_with_lists_are_told_that_a_list_may_be_empty(rows, label, is_told):
    with pytest.raises(DataError, match="has the empty label") as error:
        read([*rows, {"text": "x", "label": label}])
    assert ("has an empty list" in error.value.hint) == is_told


def test_rows_may_have_several_labels_or_none():
    checked, rows = read([*MULTI, {"text": "three", "label": np.array(["b"])}, {"text": "one", "label": ["a", "b"]}])
    assert [row.label for row in rows] == [("a", "b"), (), ("b",)]
    assert checked.is_multi_label
    assert (checked.rows_kept, checked.duplicates_dropped) == (3, 1), "the order of a row's labels says nothing"
    assert checked.labels == {"a": 1, "b": 2}


def test_one_label_that_rows_have_or_not_is_refused():
    with pytest.raises(DataError, match=r"all 2 rows .* have the label 'a', or none"):
        read([{"text": "one", "label": ["a"]}, {"text": "two", "label": []}])
    with pytest.raises(DataError, match=r"all 1 rows .* have no label"):
        read([{"text": "one", "label": []}])
