"""The inputs that an exported model is tried on: at the lengths and batch sizes that inference will meet.

A probe row is a validation row tiled or cut to a length, so that its values stay plausible (token ids, positions,
boxes), whatever they mean.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch

from mlpipe.batching import EncodedRows, budget_batches
from mlpipe.specs import InputSpec
from mlpipe.training.classifier import padding_values

BATCH_SIZES = (1, 2, 5)
REAL_ROWS, LONE_ROWS = 64, 16
"""Validation rows that are tried in batches, and how many of them also alone."""
REAL_ELEMENTS = 64 * 512
"""What the rows in batches add up to at most, once padded: a probe of very long rows should not take minutes."""


@dataclass(frozen=True)
class Plan:
    """What an export may be asked for: any batch or one row at a time, any length or the longest."""

    name: str
    is_batch_dynamic: bool
    is_seq_dynamic: bool


PLANS = (
    Plan("any batch, any length", is_batch_dynamic=True, is_seq_dynamic=True),
    Plan("any batch, longest length", is_batch_dynamic=True, is_seq_dynamic=False),
    Plan("one row, longest length", is_batch_dynamic=False, is_seq_dynamic=False),
)
"""From the most useful to the most restricted: the first that passes the probe is published."""


@dataclass(frozen=True)
class Lengths:
    """Lengths of the ragged axis: the extremes of the snapshot, and a usual one; all 1 where no input is ragged."""

    short: int
    usual: int
    longest: int


class ProbeRow(NamedTuple):
    """A validation row by its position, tiled or cut to a length."""

    position: int
    length: int


@dataclass(frozen=True)
class Case:
    """One call of a model: these rows, padded to `width`."""

    name: str
    rows: tuple[ProbeRow, ...]
    width: int


@dataclass(frozen=True)
class CaseMaker:
    """Makes the cases of a plan from the validation rows, and their tensors.

    `token_budget` is that of inference: validation rows are batched as test rows will be.
    """

    rows: EncodedRows
    inputs: tuple[InputSpec, ...]
    lengths: Lengths
    token_budget: int

    def cases(self, plan: Plan) -> list[Case]:
        """Every case that a model exported by this plan has to get right, none twice."""
        made = self._made_cases(plan)
        real = self._real_rows()
        lone = [*made[-1].rows, *real[:: max(1, len(real) // LONE_ROWS)]]
        alone = [self._padded(plan, "one row alone", [row]) for row in lone]
        every = [*made, *alone, *(self._real_batches(plan, real) if plan.is_batch_dynamic else [])]
        return list({(case.rows, case.width): case for case in reversed(every)}.values())[::-1]

    def example(self, plan: Plan) -> Case:
        """What a model is traced on: two rows of different length, or one where the batch is fixed."""
        width = self.lengths.usual if plan.is_seq_dynamic else self.lengths.longest
        shorter = max(self.lengths.short, width // 2)
        return self._case("example", [width, shorter] if plan.is_batch_dynamic else [width], width)

    def tensors(self, case: Case) -> tuple[torch.Tensor, ...]:
        """The inputs of a case, in the order of the model's forward."""
        padding = padding_values(self.inputs)
        rows = [self.rows.collate([row.position], padding) for row in case.rows]
        return tuple(_stack(entry, [row[entry.name] for row in rows], case) for entry in self.inputs)

    def _made_cases(self, plan: Plan) -> list[Case]:
        """Batches of 1, 2 and 5 at the short, the usual and the longest length, padded and not."""
        short, longest = self.lengths.short, self.lengths.longest
        cases = []
        for width in sorted({short, self.lengths.usual, longest}) if plan.is_seq_dynamic else [longest]:
            shorter = [max(short, width // 2), short]
            for size in BATCH_SIZES if plan.is_batch_dynamic else (1,):
                name = f"batch {size}, length {width}"
                cases.append(self._case(name, [width] * size, width))
                if short < width:
                    # A lone row is padded as it would be among longer ones.
                    lengths = shorter[:1] if size == 1 else [width, *(shorter * size)][:size]
                    cases.append(self._case(f"{name}, padded", lengths, width))
        return cases

    def _case(self, name: str, lengths: Sequence[int], width: int) -> Case:
        rows = tuple(ProbeRow(at % len(self.rows), length) for at, length in enumerate(lengths))
        return Case(name, rows, width)

    def _real_rows(self) -> list[ProbeRow]:
        """Validation rows as they are, spread over all lengths."""
        order = np.argsort(self.rows.lengths, kind="stable")
        count = min(len(order), REAL_ROWS, max(LONE_ROWS, REAL_ELEMENTS // self.lengths.longest))
        chosen = order[np.linspace(0, len(order) - 1, count).round().astype(int)]
        return [ProbeRow(int(row), int(self.rows.lengths[row])) for row in chosen]

    def _real_batches(self, plan: Plan, real: Sequence[ProbeRow]) -> list[Case]:
        widths = np.array([row.length if plan.is_seq_dynamic else self.lengths.longest for row in real])
        batches = budget_batches(widths, self.token_budget, max_batch=len(real))
        return [self._padded(plan, "validation rows", [real[at] for at in batch]) for batch in batches]

    def _padded(self, plan: Plan, name: str, rows: Sequence[ProbeRow]) -> Case:
        """Rows padded as inference pads them: to the longest of them, or to the only length that is right."""
        longest = max(row.length for row in rows) if plan.is_seq_dynamic else self.lengths.longest
        return Case(name, tuple(rows), longest)


def snapshot_lengths(inputs: Sequence[tuple[int | None, int | None]], rows: EncodedRows) -> Lengths:
    """The lengths to try, from (min_length, max_length) of every input (None where it is not ragged)."""
    short = min((low for low, _ in inputs if low is not None), default=1)
    longest = max((high for _, high in inputs if high is not None), default=1)
    short, longest = max(1, short), max(1, longest)
    return Lengths(short, int(np.clip(int(np.median(rows.lengths)), short, longest)), longest)


def _stack(entry: InputSpec, values: Sequence[torch.Tensor], case: Case) -> torch.Tensor:
    """One input of a case from its rows' own values, each (1, ...)."""
    if not entry.ragged:
        return torch.cat(list(values))
    shape = (len(values), case.width, *entry.trailing_shape)
    stacked = torch.full(shape, entry.padding_value, dtype=values[0].dtype)
    for at, (value, row) in enumerate(zip(values, case.rows, strict=True)):
        repeats = -(-row.length // value.shape[1])
        stacked[at, : row.length] = torch.cat([value[0]] * repeats)[: row.length]
    return stacked
