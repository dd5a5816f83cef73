from __future__ import annotations

import pytest

from mlpipe.snapshots.labels import ordered_labels


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["10", "9", "-1", "0"], ["-1", "0", "9", "10"]),
        (["10", "9", "x"], ["10", "9", "x"]),
        (["01", "2", "10"], ["01", "10", "2"]),
        (["b", "a", "b", "B"], ["B", "a", "b"]),
    ],
)
def test_whole_numbers_are_ordered_by_value_and_other_labels_by_text(names, expected):
    assert ordered_labels(names) == expected
    assert ordered_labels(reversed(names)) == expected
