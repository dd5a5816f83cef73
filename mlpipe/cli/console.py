"""What the user sees: progress on stderr, results on stdout, plain lines where either is not a terminal."""

from __future__ import annotations

import contextlib
import json
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import typer
from rich.console import Console
from rich.status import Status
from rich.table import Table
from rich.text import Text

from mlpipe.backends import JobState, JobStatus
from mlpipe.catalog import RunLine
from mlpipe.contract import OBJECTIVE_MARK, PROGRESS_MARK, TRACEBACK_MARK
from mlpipe.costs import billable_seconds
from mlpipe.experiment import Plan, TrainedRun
from mlpipe.production import Promotion
from mlpipe.specs import JobSpec
from mlpipe.steps.outcomes import RunSummary, Snapshot
from mlpipe.steps.tune import assignments
from mlpipe.steps.verify import Verification
from mlpipe.steps.workplace import StepListener

PLAIN_PROGRESS_SECONDS = 10.0
PIPE_WIDTH = 160
"""Columns of a table that is not printed on a terminal: nothing is cut off there."""


class ConsoleListener(StepListener):
    """Job lines on stderr; a job's progress is one line in place on a terminal, a line now and then elsewhere."""

    def __init__(self, console: Console, status: Status | None, *, debug: bool) -> None:
        self._console = console
        self._status = status
        self._debug = debug
        self._progress: dict[str, str] = {}
        """The last progress of every running job: several may run side by side."""
        self._last_progress: dict[str, float] = {}

    def note(self, text: str) -> None:
        """Print what a step decided."""
        self._print(text)

    def started(self, spec: JobSpec, log: str) -> None:
        """Say that a job was started, and where its log is."""
        self._print(f"{spec.name}: started, log: {log}")
        self._show(spec, "starting")

    def line(self, spec: JobSpec, text: str) -> None:
        """Print a line of a job's log, or show its progress; what no user asked for stays in the log."""
        if text.startswith((TRACEBACK_MARK, OBJECTIVE_MARK)) and not self._debug:
            return
        if not text.startswith(PROGRESS_MARK):
            self._print(f"{spec.name}: {text}")
            return
        progress, now = text.removeprefix(PROGRESS_MARK), time.monotonic()
        self._show(spec, progress)
        if self._status is None and now - self._last_progress.get(spec.name, 0.0) >= PLAIN_PROGRESS_SECONDS:
            self._last_progress[spec.name] = now
            self._print(f"{spec.name}: {progress}")

    def ended(self, spec: JobSpec, status: JobStatus, seconds: float) -> None:
        """Say how a job ended."""
        how = "done" if status.state is JobState.COMPLETED else status.state.lower()
        self._print(f"{spec.name}: {how} after {seconds:.1f} s")
        self._show(spec, "")

    def _print(self, text: str) -> None:
        self._console.print(text, soft_wrap=True)

    def _show(self, spec: JobSpec, progress: str) -> None:
        """Show a job's progress below that of the jobs beside it; an empty one is taken away."""
        self._progress = {name: text for name, text in {**self._progress, spec.name: progress}.items() if text}
        if self._status is not None:
            self._status.update(Text("\n".join(f"{name}: {text}" for name, text in self._progress.items())))


@contextlib.contextmanager
def console_listener(context: typer.Context) -> Iterator[ConsoleListener]:
    """The listener for this process's stderr; the command's context says whether --debug was given."""
    console, debug = _console(stderr=True), bool(context.obj)
    if not console.is_terminal:
        yield ConsoleListener(console, None, debug=debug)
        return
    with console.status("") as status:
        yield ConsoleListener(console, status, debug=debug)


def print_summary(summary: RunSummary) -> None:
    """Print the table of a run's models, what failed, and the path of the run."""
    console = stdout()
    if summary.comparison["models"]:
        _print_scores(console, summary.comparison, summary.timings)
    for outcome in summary.failed:
        console.print(f"{outcome.model_name}: failed")
    state = "committed" if summary.is_committed else "not committed"
    console.print(f"run {summary.run.run_num} ({state}): {summary.location}", soft_wrap=True)
    if summary.report:
        console.print(f"report: {summary.report}", soft_wrap=True)


def yardstick_lines(yardsticks: Mapping[str, Any]) -> Iterator[str]:
    """The scores of what every model has to beat, and what of it is missing."""
    for each in yardsticks.get("measured", ()):
        yield f"{each['name']}: accuracy {interval(each['accuracy'])}, macro F1 {interval(each['macro_f1'])}"
    for name, reason in yardsticks.get("skipped", {}).items():
        yield f"{name} is missing: {reason}"


def print_plan(plan: Plan, *, as_json: bool) -> None:
    """Print the tasks of a run in stages, the jobs that they would start, and what those may cost."""
    if as_json:
        print_json(asdict(plan))
        return
    table = Table("stage", "task", "what would happen", "job")
    for task in plan.tasks:
        table.add_row(str(task.stage), task.task, task.decision, task.job or "")
    console = stdout()
    console.print(table)
    if worst := plan.worst_case:
        dollars = "" if worst.usd is None else f", {worst.usd:.2f} dollars"
        console.print(f"at worst {worst.instance_hours:g} instance-hours{dollars}")
    console.print(f"{sum(task.job is not None for task in plan.tasks)} jobs; nothing was started")


def print_snapshot(snapshot: Snapshot) -> None:
    """Print a snapshot's address, its size, and where it lies."""
    card = snapshot.unit.read_json("data_card.json")
    how = "reused" if snapshot.is_reused else "new"
    console = stdout()
    rows = card["rows"]
    shown = ", ".join(f"{count} {split}" for split, count in rows.items()) if isinstance(rows, dict) else rows
    console.print(f"snapshot {snapshot.address} ({how}): {shown} rows, {len(card['labels'])} labels")
    console.print(snapshot.unit.storage.locate(snapshot.unit.key), soft_wrap=True)


def print_trained(trained: TrainedRun) -> None:
    """Print which models a run has, and how to go on."""
    console = stdout()
    console.print(
        f"run {trained.run_num}: {', '.join(trained.model_names)} trained: {trained.location}", soft_wrap=True
    )
    console.print(f"`mlpipe infer --run-num {trained.run_num}` opens the test set")


def print_started(started: TrainedRun) -> None:
    """Print which trainings a detached run has begun with, and how to come back to it."""
    console, number = stdout(), started.run_num
    console.print(f"run {number}: {', '.join(started.model_names)} started: {started.location}", soft_wrap=True)
    console.print(f"`mlpipe resume {number}` goes on with it, `mlpipe logs {number} -f` shows its logs")
    console.print(f"`mlpipe stop {number}` ends its jobs")


def print_inferred(inferred: RunSummary | Verification) -> None:
    """Print the table of a completed run, or that a committed one was verified."""
    if isinstance(inferred, RunSummary):
        print_summary(inferred)
        return
    models, files = ", ".join(inferred.model_names), " and ".join(inferred.files)
    stdout().print(
        f"run {inferred.run_num} verified: {files} of {models} were computed again and equal what was published",
        soft_wrap=True,
    )


def print_runs(lines: Sequence[RunLine], experiment: str, *, as_json: bool) -> None:
    """Print the list of an experiment's runs."""
    if as_json:
        print_json([asdict(line) for line in lines])
        return
    table = Table("run", "status", "best model", "macro F1", "updated")
    for line in lines:
        f1 = "" if line.macro_f1 is None else f"{line.macro_f1:.3f}"
        table.add_row(str(line.run_num), line.status, line.best_model, f1, line.updated)
    stdout().print(table if lines else f"experiment {experiment} has no runs yet; `mlpipe run` makes one")


def print_run(record: Mapping[str, Any], *, as_json: bool) -> None:
    """Print one run."""
    if as_json:
        print_json(record)
        return
    console = stdout()
    console.print(f"run {record['run_num']}: {record['status']}, {record['updated']}")
    console.print(f"path: {record['location']}", soft_wrap=True)
    console.print(f"snapshot: {record['snapshot']}; its test set was opened {_times(record['test_openings'])}")
    if error := record.get("state", {}).get("error"):
        console.print(f"error: {error}", soft_wrap=True)
    jobs = record.get("record", record.get("state", {})).get("jobs", [])
    if (billable := billable_seconds(jobs)) is None:
        console.print("billable: not known, since SageMaker has not said it of every job")
    elif billable:
        console.print(f"billable: {billable} seconds of machines")
    if record["comparison"].get("models"):
        timings = {name: shown["timing"] for name, shown in record["models"].items() if "timing" in shown}
        _print_scores(console, record["comparison"], timings)
    for outcome in record["comparison"].get("failed", []):
        console.print(f"{outcome['model_name']}: failed: {outcome['error']}", soft_wrap=True)
    for name, shown in record["models"].items():
        where = shown["path"] if shown["is_published"] else "not published"
        console.print(f"{name}: {where}", soft_wrap=True)
        if tuning := shown.get("tuning"):
            best = assignments(tuning["hyperparameters"])
            console.print(f"{name}: best of {tuning['trials']} trials: {best}", soft_wrap=True)


def print_promotion(promotion: Promotion) -> None:
    """Print what is in production now."""
    stdout().print(
        f"{promotion.model_name} of run {promotion.run_num} is in production (macro F1 {promotion.macro_f1:.3f})",
        soft_wrap=True,
    )


def print_production(history: Sequence[Promotion], *, as_json: bool) -> None:
    """Print every promotion, the newest first: that one is in production."""
    if as_json:
        print_json([asdict(promotion) for promotion in history])
        return
    table = Table("in production", "run", "model", "macro F1", "by", "why")
    for number, each in enumerate(history):
        since = f"since {each.promoted}" if number == 0 else f"from {each.promoted}"
        why = f"{each.reason} (forced)".strip() if each.is_forced else each.reason
        table.add_row(since, str(each.run_num), each.model_name, f"{each.macro_f1:.3f}", each.by, why)
    stdout().print(table if history else "nothing is in production; `mlpipe promote N --model M` changes that")


def _print_scores(console: Console, comparison: Mapping[str, Any], timings: Mapping[str, Mapping[str, Any]]) -> None:
    """Print the table of the models, what each has to beat, and the conclusion."""
    console.print(_model_table(comparison["models"], timings))
    for line in yardstick_lines(comparison.get("yardsticks", {})):
        console.print(f"yardstick: {line}", soft_wrap=True)
    console.print(comparison["conclusion"], soft_wrap=True)


def _model_table(models: Sequence[Mapping[str, Any]], timings: Mapping[str, Mapping[str, Any]]) -> Table:
    table = Table("model", "test rows", "accuracy (95 %)", "macro F1 (95 %)", "samples/s", "p99 latency, ms", "parity")
    for entry in models:
        timing, parity = timings[entry["model_name"]], entry["parity"]
        table.add_row(
            entry["model_name"],
            str(entry["num_rows"]),
            interval(entry["accuracy"]),
            interval(entry["macro_f1"]),
            f"{timing['samples_per_second']:.0f}",
            f"{timing['latency_p99_ms']:.1f}",
            f"{parity['plan']}: off by {parity['max_difference']:.0e}",
        )
    return table


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count} times"


def interval(estimate: Mapping[str, float]) -> str:
    """A value with its interval."""
    return f"{estimate['value']:.3f} [{estimate['low']:.3f}, {estimate['high']:.3f}]"


def stdout() -> Console:
    """The console of results."""
    console = _console()
    if not console.is_terminal:
        console.width = PIPE_WIDTH
    return console


def _console(*, stderr: bool = False) -> Console:
    """A console that prints texts as they are: the names, paths and errors of others may look like markup."""
    return Console(stderr=stderr, markup=False, emoji=False, highlight=False)


def print_json(document: object) -> None:
    """Print a document for programs."""
    sys.stdout.write(json.dumps(document, indent=2, ensure_ascii=False) + "\n")
