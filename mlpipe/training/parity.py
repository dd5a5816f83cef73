"""Does an exported model equal the model? The comparison behind parity.json and the valid shapes of signature.json."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from mlpipe.training import probe
from mlpipe.training.cases import Case, CaseMaker, Plan, ProbeRow
from mlpipe.training.classifier import Classifier, compute_logits

TOLERANCE = 1e-3
"""How far an export may be off, in standard deviations of the logits."""
ROUNDING = 1e-6
"""How far float32 may be off anyway, relative to the largest logit: what is left where all logits are nearly equal."""


@dataclass(frozen=True)
class CaseResult:
    """One case: the shape of every input, and how far the export's logits were from the model's.

    `max_difference` is None where there is nothing to subtract; `error` then says why.
    """

    name: str
    shapes: Mapping[str, tuple[int, ...]]
    max_difference: float | None
    tolerance: float
    is_equal: bool
    error: str = ""

    def describe(self) -> str:
        """What went wrong, in one line."""
        shapes = ", ".join(f"{key} {shape}" for key, shape in self.shapes.items())
        wrong = self.error or f"logits differ by up to {self.max_difference:.3g}, tolerance {self.tolerance:.3g}"
        return f"{self.name} ({shapes}): {wrong}"


@dataclass(frozen=True)
class Parity:
    """One export under one plan, compared with the model case by case.

    `is_batch_invariant`: a row's logits depend neither on the rows beside it nor on its padding.
    """

    plan: Plan
    results: tuple[CaseResult, ...]
    is_batch_invariant: bool

    @property
    def is_equal(self) -> bool:
        """True when every case came out right."""
        return all(result.is_equal for result in self.results)

    @property
    def max_difference(self) -> float:
        """The largest difference over the cases that could be compared."""
        return max((result.max_difference or 0.0 for result in self.results), default=0.0)

    def failure(self) -> str:
        """How many cases came out wrong, and the first of them with the largest difference, in one line."""
        wrong = [result for result in self.results if not result.is_equal]
        worst = max(wrong, key=lambda result: result.max_difference or 0.0)
        return f"{len(wrong)} of {len(self.results)} cases are wrong, such as {worst.describe()}"


@dataclass(frozen=True)
class Reference:
    """What an export has to reproduce: the logits (rows, labels) of the model itself in every case of a plan."""

    plan: Plan
    keys: tuple[str, ...]
    cases: Sequence[Case]
    inputs: Sequence[tuple[torch.Tensor, ...]]
    logits: Sequence[torch.Tensor]
    tolerance: float

    @classmethod
    def of(cls, model: Classifier, plan: Plan, maker: CaseMaker, num_labels: int, code: Path) -> Reference:
        """Run `model`, on CPU in eval mode. Raises UserFunctionError where it fails; `code` is the user's folder."""
        cases = maker.cases(plan)
        inputs = [maker.tensors(case) for case in cases]
        with torch.no_grad():
            batches = [dict(zip(model.keys, tensors, strict=True)) for tensors in inputs]
            logits = [compute_logits(model, batch, num_labels, code).float() for batch in batches]
        return cls(plan, model.keys, cases, inputs, logits, _tolerance(torch.cat(logits)))

    def check(self, path: Path, threads: int) -> Parity:
        """Load an exported file in a clean process, with so many threads, and compare its logits in every case."""
        outcomes = _run_in_clean_process(path, self.inputs, threads)
        results = tuple(self._result(at, outcome) for at, outcome in enumerate(outcomes))
        return Parity(self.plan, results, _row_spread(self.cases, outcomes) <= self.tolerance)

    def _result(self, at: int, outcome: torch.Tensor | str) -> CaseResult:
        shapes = dict(zip(self.keys, (tuple(tensor.shape) for tensor in self.inputs[at]), strict=True))
        difference, error = _difference(outcome, self.logits[at])
        is_equal = difference is not None and difference <= self.tolerance
        return CaseResult(self.cases[at].name, shapes, difference, self.tolerance, is_equal, error)


def _tolerance(logits: torch.Tensor) -> float:
    return max(TOLERANCE * float(logits.std()), ROUNDING * max(1.0, float(logits.abs().max())))


def _difference(outcome: torch.Tensor | str, right: torch.Tensor) -> tuple[float | None, str]:
    """The largest absolute difference, or None and the reason why there is none."""
    if isinstance(outcome, str):
        return None, outcome
    if outcome.shape != right.shape:
        return None, f"logits have shape {tuple(outcome.shape)}, not {tuple(right.shape)}"
    difference = float((outcome.float() - right).abs().max())
    return (difference, "") if math.isfinite(difference) else (None, "logits are not finite")


def _row_spread(cases: Sequence[Case], outcomes: Sequence[torch.Tensor | str]) -> float:
    """The largest difference between the logits that the export gave for the same row in different cases."""
    seen: dict[ProbeRow, list[torch.Tensor]] = {}
    for case, outcome in zip(cases, outcomes, strict=True):
        if not isinstance(outcome, str) and len(outcome) == len(case.rows):
            for row, logits in zip(case.rows, outcome, strict=True):
                seen.setdefault(row, []).append(logits.float())
    stacked = [torch.stack(logits) for logits in seen.values()]
    return max((float((rows.amax(dim=0) - rows.amin(dim=0)).max()) for rows in stacked), default=0.0)


def _run_in_clean_process(
    path: Path, inputs: Sequence[tuple[torch.Tensor, ...]], threads: int
) -> list[torch.Tensor | str]:
    """The logits of every case, or what was raised instead."""
    with tempfile.TemporaryDirectory(prefix="mlpipe-probe-") as name:
        folder = Path(name)
        tensors = {
            f"{case:04d}.{position:02d}": tensor.clone().contiguous()
            for case, case_inputs in enumerate(inputs)
            for position, tensor in enumerate(case_inputs)
        }
        save_file(tensors, folder / "inputs.safetensors")
        order = {"model": str(path), "cases": len(inputs)}
        (folder / "probe.json").write_text(json.dumps(order), encoding="utf-8")
        # -P: the folder of probe.py, and the current one, are not where its imports may come from.
        command = [sys.executable, "-P", str(Path(probe.__file__)), name]
        environment = {**os.environ, "CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": str(threads)}
        done = subprocess.run(command, env=environment, cwd=name, capture_output=True, text=True, check=False)
        if done.returncode:
            reason = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
            return [f"the file cannot be loaded: {reason}"] * len(inputs)
        errors = json.loads((folder / "errors.json").read_bytes())
        outputs = load_file(folder / "outputs.safetensors")
    return [outputs[key] if (key := f"{case:04d}") in outputs else errors[key] for case in range(len(inputs))]
