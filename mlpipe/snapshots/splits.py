"""Which row goes to train, validation and test: stratified by label, identical content and groups kept together.

The outcome depends on the rows' ids, contents, labels and groups and on the seed, neither on the order of the rows nor
on the process. Rows are numbers here; the module knows no files.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mlpipe.specs import Split

SPLITS = (Split.TRAIN, Split.VALIDATION, Split.TEST)
TRAIN, VALIDATION, TEST = range(len(SPLITS))
DROPPED = -1

UNITS_TO_COVER_ALL = 3
"""A label with at least as many independent units gets a row in every split, where it can (see assign_splits)."""

_LEAST_WEIGHT = 0.5

Codes = NDArray[np.int64]


@dataclass(frozen=True)
class RowFacts:
    """What the split of each row depends on; the arrays have one entry per row, those of `all_labels` excepted.

    Rows with the same number in `contents` are identical, those with the same one in `groups` belong together. `keys`
    (uint64) orders the rows at random, by seed and id. `user_splits` are indices into SPLITS. Of multi-label data,
    `labels` has the one that a row is stratified by, and `all_labels` a row number and a label for each that it has.
    """

    labels: Codes
    contents: Codes
    keys: NDArray[np.uint64]
    groups: Codes | None = None
    user_splits: Codes | None = None
    all_labels: tuple[Codes, Codes] | None = None


@dataclass(frozen=True)
class Assignment:
    """Per row the index of its split in SPLITS, or DROPPED; and what was found on the way.

    A row is dropped only where the user's own splits put its content into test (or validation) as well.
    """

    splits: Codes
    identical_to_test: int
    identical_to_validation: int
    groups_across_splits: int


def assign_splits(facts: RowFacts, validation_fraction: float, test_fraction: float) -> Assignment:
    """Split the rows. A split that the user gives stands; what is missing is taken from the user's train rows alone.

    The fractions are of the rows that there are to split. Per label and split they are met to within one row, and in
    sum exactly, as far as groups and these rules permit: a label has at least one training row, and one with three
    independent units or more has rows in every split, unless moving any of its units would have taken some label's
    only row from a split. Of multi-label data, the fractions are met for the label that a row is stratified by, before
    units are moved for labels that lack a row.
    """
    user = facts.user_splits
    splits = np.zeros_like(facts.labels) if user is None else user.copy()
    fractions = np.zeros(len(SPLITS))
    for split, fraction in ((VALIDATION, validation_fraction), (TEST, test_fraction)):
        fractions[split] = 0 if (splits == split).any() else fraction
    identical = {split: _drop_identical(splits, facts.contents, split) for split in (TEST, VALIDATION)}
    pool, kept = splits == TRAIN, splits != DROPPED
    across = 0 if facts.groups is None else _groups_across(facts.groups[kept], splits[kept])
    if pool.any() and fractions.any():
        units = independent_units(facts.contents[pool], None if facts.groups is None else facts.groups[pool])
        splits[pool] = _stratified(facts.labels[pool], units, facts.keys[pool], fractions, _all_labels(facts, pool))
    return Assignment(splits, identical[TEST], identical[VALIDATION], across)


def _all_labels(facts: RowFacts, pool: NDArray[np.bool_]) -> tuple[Codes, Codes]:
    """Every label of the rows in the pool, after the number of its row within the pool."""
    if facts.all_labels is None:
        return np.arange(np.count_nonzero(pool)), facts.labels[pool]
    rows, labels = facts.all_labels
    inside = pool[rows]
    return (np.cumsum(pool) - 1)[rows[inside]], labels[inside]


def independent_units(contents: Codes, groups: Codes | None) -> Codes:
    """Number the sets of rows that move together, per row: those joined by a chain of equal contents and groups."""
    links = [_numbered(codes) for codes in (contents, groups) if codes is not None]
    unit, before = links[0], None
    # Every pass hands the lowest number one link further, so that a chain takes as many passes as it has links.
    while before is None or (unit != before).any():
        before = unit
        for codes in links:
            lowest = np.full(codes.max() + 1, len(codes))
            np.minimum.at(lowest, codes, unit)
            unit = lowest[codes]
    return _numbered(unit)


def _numbered(codes: Codes) -> Codes:
    """The same distinctions, numbered from 0 without gaps."""
    return np.unique(codes, return_inverse=True)[1].astype(np.int64)


def _drop_identical(splits: Codes, contents: Codes, kept: int) -> int:
    """Drop the rows of lower splits whose content is in `kept` too; returns how many."""
    leaks = (splits < kept) & (splits != DROPPED) & np.isin(contents, contents[splits == kept])
    splits[leaks] = DROPPED
    return int(np.count_nonzero(leaks))


def _groups_across(groups: Codes, splits: Codes) -> int:
    distinct = np.unique(np.stack([groups, splits], axis=1), axis=0)
    return int(np.count_nonzero(np.unique(distinct[:, 0], return_counts=True)[1] > 1))


@dataclass(frozen=True)
class _Units:
    """The sets of rows that move together, and how many rows of which label each has.

    The labels of unit u are `labels[starts[u]:starts[u + 1]]`, with `rows` of each. `order` lists the units, the
    largest first and equally large ones at random; `rank` is a unit's place in it.
    """

    starts: Codes
    labels: Codes
    rows: Codes
    sizes: Codes
    order: Codes
    rank: Codes

    @classmethod
    def of(cls, labels: Codes, label_units: Codes, units: Codes, keys: NDArray[np.uint64]) -> _Units:
        """From labels with the unit of each, and the unit and the key of each row."""
        num_labels = int(labels.max()) + 1
        pairs, rows = np.unique(label_units * num_labels + labels, return_counts=True)
        sizes = np.bincount(units)
        starts = np.searchsorted(pairs // num_labels, np.arange(len(sizes) + 1))
        unit_keys = np.full(len(sizes), np.iinfo(np.uint64).max)
        np.minimum.at(unit_keys, units, keys)
        order = np.lexsort((unit_keys, -sizes))
        rank = np.empty_like(order)
        rank[order] = np.arange(len(order))
        return cls(starts, pairs % num_labels, rows, sizes, order, rank)

    def labels_of(self, unit: int) -> tuple[Codes, Codes]:
        """The labels of a unit and how many rows it has of each."""
        span = slice(self.starts[unit], self.starts[unit + 1])
        return self.labels[span], self.rows[span]

    def with_label(self, label: int) -> Codes:
        """The units that have rows of a label."""
        units: Codes = np.repeat(np.arange(len(self.sizes)), np.diff(self.starts))[self.labels == label]
        return units


def _stratified(
    labels: Codes,
    units: Codes,
    keys: NDArray[np.uint64],
    fractions: NDArray[np.float64],
    all_labels: tuple[Codes, Codes],
) -> Codes:
    """The split of each row: units of several rows by greedy choice, the rest fills up what each label still needs.

    In the end units are moved for the labels of `all_labels` (rows, labels) that lack a row in a split.
    """
    sets = _Units.of(labels, units, units, keys)
    rows_per_label = np.bincount(labels)
    units_per_label = np.bincount(sets.labels, minlength=len(rows_per_label))
    targets = _targets(rows_per_label, units_per_label, fractions)
    several = int(np.count_nonzero(sets.sizes > 1))
    splits = np.full(len(sets.sizes), TRAIN, dtype=np.int64)
    is_open = fractions > 0
    is_open[TRAIN] = True
    need = _place_large(sets, splits, sets.order[:several], targets, is_open)
    _fill_up(sets, splits, sets.order[several:], need)
    _cover_labels(_Units.of(all_labels[1], units[all_labels[0]], units, keys), splits, is_open)
    return splits[units]


def _targets(rows: Codes, units: Codes, fractions: NDArray[np.float64]) -> Codes:
    """Rows wanted per split and label: (3, labels). Every label leaves a row to train, and one unit is all train."""
    targets = np.zeros((len(SPLITS), len(rows)), dtype=np.int64)
    for split in (VALIDATION, TEST):
        if fractions[split] > 0:
            least = (units >= UNITS_TO_COVER_ALL).astype(np.int64)
            targets[split] = np.maximum(_largest_remainder(rows * fractions[split]), least)
    room = np.where(units > 1, rows - 1, 0)
    while (excess := targets.sum(axis=0) > room).any():
        larger = np.where(targets[VALIDATION] >= targets[TEST], VALIDATION, TEST)
        targets[larger[excess], np.flatnonzero(excess)] -= 1
    targets[TRAIN] = rows - targets.sum(axis=0)
    return targets


def _largest_remainder(quotas: NDArray[np.float64]) -> Codes:
    """Whole numbers within one of the quotas whose sum is the rounded sum of the quotas (Hamilton's method)."""
    seats = np.floor(quotas).astype(np.int64)
    left = round(float(quotas.sum())) - int(seats.sum())
    seats[np.argsort(seats - quotas, kind="stable")[:left]] += 1
    return seats


def _place_large(
    sets: _Units, splits: Codes, large: Codes, targets: Codes, is_open: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """Place units of several rows, one by one; returns what each split still needs of each label.

    A unit goes where the sum over its labels of (rows - target)^2 / target, a chi-square distance, falls most.
    """
    need = targets.astype(np.float64)
    weight = np.maximum(need, _LEAST_WEIGHT)
    for unit in large:
        labels, rows = sets.labels_of(unit)
        cost = ((rows * rows - 2 * rows * need[:, labels]) / weight[:, labels]).sum(axis=1)
        cost[~is_open] = np.inf
        splits[unit] = int(np.argmin(cost))
        need[splits[unit], labels] -= rows
    return need


def _fill_up(sets: _Units, splits: Codes, single: Codes, need: NDArray[np.float64]) -> None:
    """Units of one row: per label, in random order, the first go to test, the next to validation, the rest to train."""
    labels = sets.labels[sets.starts[single]]
    by_label = np.argsort(labels, kind="stable")
    ordered = labels[by_label]
    place = np.arange(len(ordered)) - np.searchsorted(ordered, ordered)
    to_test = np.maximum(need[TEST], 0)[ordered]
    to_validation = to_test + np.maximum(need[VALIDATION], 0)[ordered]
    chosen = np.where(place < to_test, TEST, np.where(place < to_validation, VALIDATION, TRAIN))
    splits[single[by_label]] = chosen


def _cover_labels(sets: _Units, splits: Codes, is_open: NDArray[np.bool_]) -> None:
    """Move small units where a label was left without a row in a split: to train always, else without new gaps."""
    units_per_label = np.bincount(sets.labels)
    in_split = [_labels_in(sets, splits, split) for split in range(len(SPLITS))]
    present = np.stack([np.bincount(labels, minlength=len(units_per_label)) for labels in in_split])

    def leaves_gap(unit: int) -> bool:
        return bool((present[splits[unit], sets.labels_of(unit)[0]] < 2).any())

    for split in (TRAIN, TEST, VALIDATION):
        enough = units_per_label >= (1 if split == TRAIN else UNITS_TO_COVER_ALL)
        for label in np.flatnonzero(enough & (present[split] == 0) & is_open[split]):
            if present[split, label]:
                continue
            unit = min(sets.with_label(int(label)), key=lambda member: (leaves_gap(member), -sets.rank[member]))
            if split == TRAIN or not leaves_gap(unit):
                labels = sets.labels_of(unit)[0]
                present[splits[unit], labels] -= 1
                present[split, labels] += 1
                splits[unit] = split


def _labels_in(sets: _Units, splits: Codes, split: int) -> Codes:
    """The labels of every unit in one split, once per unit."""
    in_split: NDArray[np.bool_] = np.repeat(splits, np.diff(sets.starts)) == split
    return sets.labels[in_split]
