from __future__ import annotations

import hashlib
from collections import Counter

import pytest

from mlpipe.snapshots.data_card import Lengths, TextLengths, digest_of_test_set


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([4], Lengths(4, 4, 4, 4)),
        ([1, 2, 3, 4], Lengths(1, 2, 4, 4)),
        (range(1, 101), Lengths(1, 50, 95, 100)),
        ([0] * 95 + [9] * 5, Lengths(0, 0, 0, 9)),
    ],
)
def test_lengths_are_nearest_ranks(values, expected):
    assert Lengths.of(Counter(values)) == expected


def test_characters_are_counted_per_text_column_and_words_in_one():
    lengths = TextLengths("text")
    lengths.add({"text": " two  words ", "title": "ab", "n": 1, "raw": b"xyz"})
    lengths.add({"text": "", "title": None})
    assert lengths.characters() == {"text": Lengths(0, 0, 12, 12), "title": Lengths(2, 2, 2, 2)}
    assert lengths.words() == Lengths(0, 0, 2, 2)


def test_without_a_text_column_there_are_no_words():
    lengths = TextLengths(None)
    lengths.add({"text": "two words"})
    assert lengths.words() is None


def test_the_digest_of_a_test_set_is_over_json_lines():
    assert digest_of_test_set([("1", "a"), ("2", "ü")]) == hashlib.sha256(b'["1","a"]\n["2","\\u00fc"]\n').hexdigest()
