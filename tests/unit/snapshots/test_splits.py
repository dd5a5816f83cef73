from __future__ import annotations

import hashlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlpipe.snapshots.splits import DROPPED, TEST, TRAIN, VALIDATION, RowFacts, assign_splits, independent_units

FEW = settings(max_examples=150, deadline=None)
fractions = st.floats(min_value=0.01, max_value=0.4)


def keys_of(size: int, seed: int = 42) -> np.ndarray:
    digests = [hashlib.blake2b(f"{seed}:{row}".encode(), digest_size=8).digest() for row in range(size)]
    return np.array([int.from_bytes(digest, "little") for digest in digests], dtype=np.uint64)


def facts_of(labels, contents=None, groups=None, user_splits=None, seed=42, all_labels=None) -> RowFacts:
    size = len(labels)
    codes = [None if values is None else np.asarray(values, dtype=np.int64) for values in (groups, user_splits)]
    return RowFacts(
        labels=np.asarray(labels, dtype=np.int64),
        contents=np.arange(size) if contents is None else np.asarray(contents, dtype=np.int64),
        keys=keys_of(size, seed),
        groups=codes[0],
        user_splits=codes[1],
        all_labels=all_labels,
    )


def several_labels(label_sets, **more) -> RowFacts:
    """Facts of multi-label rows, each stratified by its rarest label."""
    owned = np.concatenate([np.array(labels) for labels in label_sets])
    owners = np.repeat(np.arange(len(label_sets)), [len(labels) for labels in label_sets])
    counts = np.bincount(owned)
    rarest = [min(labels, key=lambda label: (counts[label], label)) for labels in label_sets]
    return facts_of(rarest, all_labels=(owners, owned), **more)


def with_label(facts: RowFacts, label: int) -> np.ndarray:
    """Whether each row has the label."""
    owners, owned = facts.all_labels
    return np.isin(np.arange(len(facts.labels)), owners[owned == label])


def permuted(facts: RowFacts, order: np.ndarray) -> RowFacts:
    optional = [None if values is None else values[order] for values in (facts.groups, facts.user_splits)]
    several = facts.all_labels and (np.argsort(order)[facts.all_labels[0]], facts.all_labels[1])
    return RowFacts(facts.labels[order], facts.contents[order], facts.keys[order], *optional, several)


@st.composite
def rows(draw, with_groups: bool = True, with_user_splits: bool = False) -> RowFacts:
    size = draw(st.integers(1, 60))
    codes = st.lists(st.integers(0, draw(st.integers(0, 30))), min_size=size, max_size=size)
    labels = draw(st.lists(st.integers(0, 4), min_size=size, max_size=size))
    user = st.lists(st.sampled_from([TRAIN, VALIDATION, TEST]), min_size=size, max_size=size)
    return facts_of(
        np.unique(labels, return_inverse=True)[1],
        contents=draw(codes),
        groups=draw(codes) if with_groups else None,
        user_splits=draw(user) if with_user_splits else None,
    )


@st.composite
def multi_label_rows(draw, with_user_splits: bool = False) -> RowFacts:
    size = draw(st.integers(1, 60))
    codes = st.lists(st.integers(0, draw(st.integers(0, 40))), min_size=size, max_size=size)
    labels = st.sets(st.integers(0, 11), min_size=1, max_size=4).map(sorted)
    user = st.lists(st.sampled_from([TRAIN, VALIDATION, TEST]), min_size=size, max_size=size)
    label_sets = draw(st.lists(labels, min_size=size, max_size=size))
    known = np.unique(np.concatenate(label_sets))
    return several_labels(
        [np.searchsorted(known, labels) for labels in label_sets],
        contents=draw(codes),
        groups=draw(st.none() | codes),
        user_splits=draw(user) if with_user_splits else None,
    )


@FEW
@given(st.lists(st.integers(0, 6), min_size=1, max_size=200), fractions, fractions, st.integers(1, 5))
def test_without_groups_each_label_gets_its_fractions_to_within_one_row(labels, validation, test, seed):
    codes = np.unique(labels, return_inverse=True)[1]
    splits = assign_splits(facts_of(codes, seed=seed), validation, test).splits
    for label, count in enumerate(np.bincount(codes)):
        for split, fraction in ((VALIDATION, validation), (TEST, test)):
            found = np.count_nonzero((codes == label) & (splits == split))
            assert abs(found - count * fraction) <= 1
            assert found >= 1 or count < 3
        assert np.any((codes == label) & (splits == TRAIN))


@FEW
@given(rows() | multi_label_rows(), fractions, fractions)
def test_each_row_is_in_one_split_and_identical_rows_and_groups_stay_whole(facts, validation, test):
    splits = assign_splits(facts, validation, test).splits
    assert set(splits) <= {TRAIN, VALIDATION, TEST}
    for together in (facts.contents, facts.contents if facts.groups is None else facts.groups):
        for number in np.unique(together):
            assert len(set(splits[together == number])) == 1


@FEW
@given(rows(), fractions, fractions)
def test_every_label_has_a_training_row(facts, validation, test):
    splits = assign_splits(facts, validation, test).splits
    assert set(facts.labels[splits == TRAIN]) == set(facts.labels)


@FEW
@given(multi_label_rows(), fractions, fractions)
def test_every_label_of_multi_label_rows_has_a_training_row(facts, validation, test):
    splits = assign_splits(facts, validation, test).splits
    assert all(np.any(splits[with_label(facts, label)] == TRAIN) for label in set(facts.all_labels[1]))


@FEW
@given(multi_label_rows(with_user_splits=True), fractions, fractions)
def test_every_label_that_the_users_splits_leave_to_train_has_a_training_row(facts, validation, test):
    splits = assign_splits(facts, validation, test).splits
    for label in set(facts.all_labels[1]):
        left = with_label(facts, label) & (facts.user_splits == TRAIN) & (splits != DROPPED)
        assert np.any(splits[left] == TRAIN) or not left.any()


@FEW
@given(st.integers(0, 1_000_000), st.floats(min_value=0.2, max_value=0.4), st.floats(min_value=0.2, max_value=0.4))
def test_every_label_of_rows_with_many_rare_labels_has_a_training_row(seed, validation, test):
    generator = np.random.default_rng(seed)
    rare = [set(generator.integers(1, 20, size=generator.integers(1, 4)).tolist()) for _ in range(30)]
    facts = several_labels([*map(sorted, rare), *[[0]] * 60], seed=seed)
    splits = assign_splits(facts, validation, test).splits
    assert all(np.any(splits[with_label(facts, label)] == TRAIN) for label in set(facts.all_labels[1]))


def beside_rarer_labels(rarer: int, alone: int, seed: int) -> RowFacts:
    """Label 0 is in few rows, each time beside another label, which is rarer and in `alone` more rows by itself."""
    both = [[0, label] for label in range(1, rarer + 1)]
    rest = [[label] for label in range(1, rarer + 1)] * alone
    return several_labels(both + rest + [[rarer + 1]] * 80, seed=seed)


def test_a_label_that_is_never_the_rarest_of_its_rows_has_a_training_row_with_any_seed():
    for seed in range(300):
        facts = beside_rarer_labels(rarer=4, alone=2, seed=seed)
        splits = assign_splits(facts, 0.1, 0.1).splits
        assert TRAIN in splits[with_label(facts, 0)]
        assert all(set(splits[with_label(facts, label)]) == {TRAIN, VALIDATION, TEST} for label in range(1, 5))


def test_a_label_that_is_never_the_rarest_of_its_rows_is_in_every_split_where_others_leave_room():
    for seed in range(300):
        facts = beside_rarer_labels(rarer=6, alone=4, seed=seed)
        splits = assign_splits(facts, 0.1, 0.1).splits
        assert set(splits[with_label(facts, 0)]) == {TRAIN, VALIDATION, TEST}


@FEW
@given(rows() | multi_label_rows(), fractions, fractions, st.randoms(use_true_random=False))
def test_the_order_of_the_rows_does_not_matter(facts, validation, test, random):
    order = np.array(random.sample(range(len(facts.labels)), len(facts.labels)))
    splits = assign_splits(facts, validation, test).splits
    assert np.array_equal(assign_splits(permuted(facts, order), validation, test).splits, splits[order])


@FEW
@given(rows(with_user_splits=True) | multi_label_rows(with_user_splits=True), fractions, fractions)
def test_the_users_splits_stand_and_no_content_lies_in_two_of_them(facts, validation, test):
    result = assign_splits(facts, validation, test)
    given_splits = set(facts.user_splits)
    moved = (result.splits != facts.user_splits) & (result.splits != DROPPED)
    assert set(facts.user_splits[moved]) <= {TRAIN}
    assert not set(result.splits[moved]) & given_splits
    assert np.array_equal(result.splits == TEST, facts.user_splits == TEST) or TEST not in given_splits
    for content in np.unique(facts.contents):
        assert len(set(result.splits[facts.contents == content]) - {DROPPED}) <= 1
    dropped = np.count_nonzero(result.splits == DROPPED)
    assert dropped == result.identical_to_test + result.identical_to_validation


def test_the_fractions_hold_in_sum_over_many_small_labels():
    labels = np.repeat(np.arange(77), 13)
    splits = assign_splits(facts_of(labels), 0.1, 0.2).splits
    assert np.count_nonzero(splits == VALIDATION) == round(0.1 * len(labels))
    assert np.count_nonzero(splits == TEST) == round(0.2 * len(labels))


def test_groups_are_spread_by_the_fractions_and_labels():
    generator = np.random.default_rng(7)
    groups = np.repeat(np.arange(200), generator.integers(1, 12, size=200))
    labels = generator.integers(0, 3, size=len(groups))
    splits = assign_splits(facts_of(labels, groups=groups), 0.1, 0.2).splits
    for label in range(3):
        share = [np.mean(splits[labels == label] == split) for split in (VALIDATION, TEST)]
        assert share == pytest.approx([0.1, 0.2], abs=0.02)


def test_another_seed_gives_another_split_of_the_same_size():
    labels = np.arange(300) % 3
    first, second = (assign_splits(facts_of(labels, seed=seed), 0.1, 0.2).splits for seed in (1, 2))
    assert not np.array_equal(first, second)
    assert np.array_equal(np.bincount(first), np.bincount(second))


def test_a_label_with_one_group_goes_to_train():
    splits = assign_splits(facts_of([0] * 20 + [1] * 6, groups=[*range(20), *[99] * 6]), 0.2, 0.2).splits
    assert set(splits[20:]) == {TRAIN}


def test_a_label_with_three_groups_is_in_every_split():
    groups = [*range(40), *[50] * 4, *[51] * 4, *[52] * 4]
    splits = assign_splits(facts_of([0] * 40 + [1] * 12, groups=groups), 0.1, 0.1).splits
    assert set(splits[40:]) == {TRAIN, VALIDATION, TEST}


def test_a_chain_of_equal_content_and_groups_is_one_unit():
    contents, groups = np.array([0, 0, 1, 1, 2]), np.array([0, 1, 1, 2, 3])
    assert independent_units(contents, groups).tolist() == [0, 0, 0, 0, 1]


def test_a_users_test_rows_never_become_validation():
    user = [TEST] * 30 + [TRAIN] * 70
    splits = assign_splits(facts_of(np.arange(100) % 2, user_splits=user), 0.1, 0.2).splits
    assert set(splits[:30]) == {TEST}
    assert np.bincount(splits[30:], minlength=3).tolist() == [63, 7, 0]


def test_a_training_row_that_equals_a_test_row_is_dropped_and_counted():
    result = assign_splits(
        facts_of([0, 0, 0, 1], contents=[0, 0, 1, 1], user_splits=[TRAIN, TEST, VALIDATION, TRAIN]), 0.1, 0.1
    )
    assert result.splits.tolist() == [DROPPED, TEST, VALIDATION, DROPPED]
    assert (result.identical_to_test, result.identical_to_validation) == (1, 1)


def test_a_group_across_the_users_splits_is_counted_and_the_users_split_wins():
    user = [TRAIN, TEST, VALIDATION, TRAIN]
    result = assign_splits(facts_of([0, 0, 1, 1], groups=[5, 5, 6, 7], user_splits=user), 0.1, 0.1)
    assert result.splits.tolist() == user
    assert result.groups_across_splits == 1


def test_a_validation_split_that_is_all_test_content_is_not_taken_from_train():
    result = assign_splits(
        facts_of([0] * 5, contents=[0, 0, 1, 2, 3], user_splits=[TEST, VALIDATION, TRAIN, TRAIN, TRAIN]), 0.3, 0.3
    )
    assert result.splits.tolist() == [TEST, DROPPED, TRAIN, TRAIN, TRAIN]
