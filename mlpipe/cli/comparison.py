"""How a comparison of models is printed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.table import Table

from mlpipe.cli.console import interval, print_json, print_summary, stdout, yardstick_lines
from mlpipe.comparing import RunComparison
from mlpipe.steps.outcomes import RunSummary


def print_comparison(summary: RunSummary, *, as_json: bool) -> None:
    """Print the models of a run, its pairs of models, and what may be said of them."""
    if as_json:
        print_json(summary.comparison)
        return
    print_summary(summary)
    _print_pairs(summary.comparison.get("pairs", ()))


def print_run_comparison(found: RunComparison, *, as_json: bool) -> None:
    """Print the models of several runs, their pairs, and what may be said of them."""
    document = found.to_json()
    if as_json:
        print_json(document)
        return
    scores = ("model@run", "accuracy (95 %)", "macro F1 (95 %)", "samples/s", "p99, ms")
    has_cost = any(line["training_usd"] is not None for line in found.models)
    table = Table(*scores, "parameters", "model.pt, MB", "training, s", *(["training, USD"] if has_cost else []))
    for line in found.models:
        table.add_row(
            line["name"],
            interval(line["accuracy"]),
            interval(line["macro_f1"]),
            f"{line['samples_per_second']:.0f}",
            f"{line['latency_p99_ms']:.1f}",
            "-" if line["parameters"] is None else f"{line['parameters']:,}",
            f"{line['model_bytes'] / 1e6:.1f}",
            _number(line["training_seconds"], 1),
            *([_number(line["training_usd"], 2)] if has_cost else []),
        )
    console = stdout()
    console.print(table)
    for said, numbers in _yardsticks(found).items():
        console.print(f"yardstick of run {', '.join(numbers)}: {said}", soft_wrap=True)
    _print_pairs(document["pairs"])
    console.print(document["conclusion"], soft_wrap=True)


def _yardsticks(found: RunComparison) -> dict[str, list[str]]:
    """What is said of the yardsticks, each line once, and the runs that it holds for."""
    runs: dict[str, list[str]] = {}
    for number, yardsticks in found.yardsticks.items():
        for line in yardstick_lines(yardsticks):
            runs.setdefault(line, []).append(str(number))
    return runs


def _number(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:.{digits}f}"


def _print_pairs(pairs: Sequence[Mapping[str, Any]]) -> None:
    if not pairs:
        return
    table = Table("pair", "accuracy, difference", "macro F1, difference", "p (McNemar, Holm)", "kappa", "rows apart")
    for pair in pairs:
        table.add_row(
            f"{pair['first']} - {pair['second']}",
            interval(pair["accuracy_difference"]),
            interval(pair["macro_f1_difference"]),
            f"{pair['p_holm']:.2g}",
            f"{pair['kappa']:.3f}",
            str(pair["disagreements"]),
        )
    stdout().print(table)
