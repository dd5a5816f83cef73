"""The charts of a report, each from the findings that it shows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from mlpipe.report.findings import Document, ModelFindings, Tuning
from mlpipe.report.svg import Drawing, Plot, Point, Scale, padded, short, ticks
from mlpipe.report.tuning_plots import correlations, positions
from mlpipe.specs import TrialRecord, TrialState
from mlpipe.tuning.space import parse_space

COLORS = 6
"""How many colours tell models apart; `c0` to `c5` in the style sheet."""

NUMBERED_LABELS = 20
"""Up to so many labels a matrix has room for numbers in its cells; beyond, the pointer shows them."""


def intervals(estimates: Sequence[tuple[str, Document, str]], title: str, zero: float | None = None) -> Markup:
    """Values with their intervals below each other: name, estimate, and colour of each; `zero` is drawn as a line."""
    bounds = [bound for _, estimate, _ in estimates for bound in (estimate["low"], estimate["high"])]
    low, high = padded([*bounds, *([zero] if zero is not None else [])])
    left = 30 + 6.4 * max(len(_cut(name)) for name, _, _ in estimates)
    width, row = left + 420, 26
    drawing, bottom = Drawing(width, row * len(estimates) + 30, title), row * len(estimates) + 6
    scale = Scale(low, high, left, width - 16)
    for value in ticks(low, high, 6):
        drawing.line((scale(value), 4), (scale(value), bottom), "grid")
        drawing.text(scale(value), bottom + 16, short(value), anchor="middle")
    if zero is not None:
        drawing.line((scale(zero), 4), (scale(zero), bottom), "axis")
    for at, (name, estimate, css) in enumerate(estimates):
        y = row * at + 18
        hint = f"{name}: {estimate['value']:.3f} [{estimate['low']:.3f}, {estimate['high']:.3f}]"
        drawing.text(left - 12, y + 4, _cut(name), "name", "end")
        drawing.line((scale(estimate["low"]), y), (scale(estimate["high"]), y), f"curve {css}")
        drawing.dot((scale(estimate["value"]), y), f"dot {css}", hint, 4.5)
    return drawing.svg()


def loss_curves(model: ModelFindings) -> Markup:
    """The training and validation loss of every epoch."""
    return _epochs(model, {"train_loss": "training", "validation_loss": "validation"}, "loss")


def metric_curves(model: ModelFindings) -> Markup:
    """The validation metrics of every epoch."""
    known = ("epoch", "lr", "train_loss", "validation_loss")
    return _epochs(model, {name: name for name in model.history[0] if name not in known}, "validation metric")


def _epochs(model: ModelFindings, names: Mapping[str, str], y_label: str) -> Markup:
    epochs = [record["epoch"] for record in model.history]
    values = [record[name] for record in model.history for name in names]
    plot = Plot.framed(
        f"{model.name}: {y_label}", padded(epochs, 0.03), padded(values), ("epoch", y_label), is_counted=True
    )
    best = plot.x(model.metrics["best_epoch"])
    plot.drawing.line((best, 12), (best, plot.drawing.height - 42), "best")
    for at, (name, shown) in enumerate(names.items()):
        plot.curve([(record["epoch"], record[name]) for record in model.history], color(at), shown)
    return plot.drawing.svg() + _legend([(shown, color(at)) for at, shown in enumerate(names.values())])


def reliability(models: Sequence[ModelFindings]) -> Markup:
    """How often models are right by how sure they say they are; on the diagonal, they keep their word."""
    plot = Plot.framed(
        "Calibration", (0, 1), (0, 1), ("probability of the prediction", "share that is right"), (360, 320)
    )
    plot.drawing.line((plot.x(0), plot.y(0)), (plot.x(1), plot.y(1)), "best")
    for at, model in enumerate(models):
        bins = model.scores["calibration"]["bins"]
        plot.curve([(each["confidence"], each["accuracy"]) for each in bins], color(at), model.name)
    return plot.drawing.svg() + _legend([(model.name, color(at)) for at, model in enumerate(models)])


def bars(scored: Sequence[Document]) -> Markup:
    """The F1 of labels, the weakest first, at most 40."""
    ranked = sorted(scored, key=lambda label: (label["f1"], label["label"]))[:40]
    left = 30 + 6.4 * max(len(_cut(label["label"])) for label in ranked)
    drawing, scale = Drawing(left + 320, 20 * len(ranked) + 24, "F1 of each label"), Scale(0, 1, left, left + 300)
    bottom = 20 * len(ranked) + 4
    for value in ticks(0, 1):
        drawing.line((scale(value), 2), (scale(value), bottom), "grid")
        drawing.text(scale(value), bottom + 15, short(value), anchor="middle")
    for at, label in enumerate(ranked):
        hint = f"{label['label']}: F1 {label['f1']:.3f}, {label['support']} test rows"
        drawing.text(left - 10, 20 * at + 16, _cut(label["label"]), "name", "end")
        drawing.box((left, 20 * at + 6), (round(scale(label["f1"]) - left, 2), 12), "hit", hint, 0.8)
    return drawing.svg()


def confusion(labels: Sequence[str], counts: NDArray[np.int64]) -> Markup:
    """Which label the rows of each label were given, in shares of its rows."""
    totals = np.maximum(counts.sum(axis=1, keepdims=True), 1)
    return _matrix(labels, counts, counts / totals, "Confusion matrix", "hit")


def confusion_difference(labels: Sequence[str], first: NDArray[np.int64], second: NDArray[np.int64]) -> Markup:
    """By how many rows the confusion of one model is larger than that of another."""
    difference = first - second
    return _matrix(labels, difference, difference / max(1, int(np.abs(difference).max())), "Difference", "more")


def _matrix(labels: Sequence[str], numbers: NDArray[Any], shares: NDArray[Any], title: str, css: str) -> Markup:
    """A square of cells: true labels from top to bottom, predicted ones from left to right."""
    cell = 34.0 if len(labels) <= NUMBERED_LABELS else max(4.0, 660 / len(labels))
    has_names = cell >= 11
    margin = 16 + 6.2 * max(len(_cut(label)) for label in labels) if has_names else 20
    drawing = Drawing(margin + cell * len(labels) + 6, margin + cell * len(labels) + 6, title)
    side = cell * len(labels)
    drawing.box((margin, margin), (side, side), "ground")
    for row, column in zip(*np.nonzero(numbers), strict=True):
        x, y, number, share = margin + column * cell, margin + row * cell, numbers[row, column], shares[row, column]
        hint = f"{labels[row]}, given {labels[column]}: {number:+d}" if css == "more" else (
            f"{labels[row]}, given {labels[column]}: {number} rows, {share:.0%}"
        )  # fmt: skip
        kind = "less" if share < 0 else css if row == column or css == "more" else "miss"
        drawing.box((round(x, 2), round(y, 2)), (round(cell, 2), round(cell, 2)), kind, hint, 0.12 + 0.88 * abs(share))
        if len(labels) <= NUMBERED_LABELS:
            strong = " strong" if abs(share) > 0.55 else ""
            drawing.text(x + cell / 2, y + cell / 2 + 4, number, f"cell{strong}", "middle")
    for at, label in enumerate(labels) if has_names else ():
        middle = margin + (at + 0.5) * cell
        drawing.text(margin - 6, middle + 4, _cut(label), "tick", "end")
        drawing.text(middle + 4, margin - 6, _cut(label), "tick", "start", -90)
    if not has_names:
        drawing.text(margin + side / 2, margin - 7, "predicted", "label", "middle")
        drawing.text(margin - 7, margin + side / 2, "true", "label", "middle", -90)
    return drawing.svg()


def trials_history(tuning: Tuning) -> Markup:
    """What every trial reached, and the best so far."""
    done = [trial for trial in tuning.trials if trial["objective"] is not None and trial["state"] != "Failed"]
    points = [(trial["number"], trial["objective"]) for trial in done]
    plot = Plot.framed(
        "Trials", padded([x for x, _ in points]), padded([y for _, y in points]),
        ("trial", tuning.best["objective_name"]), is_counted=True,
    )  # fmt: skip
    for trial, point in zip(done, points, strict=True):
        css = "faint" if trial["state"] == "Stopped" else color(0)
        css = color(1) if trial["number"] == tuning.best["trial"] else css
        plot.dot(point, css, f"trial {trial['number']}: {short(point[1])}, {trial['state'].lower()}")
    return plot.drawing.svg() + _legend([("completed", color(0)), ("stopped early", "faint"), ("the best", color(1))])


def trials_curves(tuning: Tuning) -> Markup:
    """The objective of every trial after each of its epochs."""
    values = [value for trial in tuning.trials for value in trial["curve"]]
    longest = max((len(trial["curve"]) for trial in tuning.trials), default=1)
    plot = Plot.framed(
        "Learning curves of the trials", padded([1, longest], 0.03), padded(values),
        ("report", tuning.best["objective_name"]), is_counted=True,
    )  # fmt: skip
    for trial in sorted(tuning.trials, key=lambda trial: bool(trial["number"] == tuning.best["trial"])):
        css = color(1) if trial["number"] == tuning.best["trial"] else "faint"
        plot.curve(list(enumerate(trial["curve"], start=1)), css, f"trial {trial['number']}", dots=False)
    return plot.drawing.svg()


def trials_side_by_side(tuning: Tuning) -> Markup:
    """A line for every completed trial, through its hyperparameters and what it reached; the best on top."""
    space = parse_space(tuning.best["space"])
    done = [trial for trial in tuning.trials if trial["state"] == "Completed" and trial["objective"] is not None]
    objectives = np.array([trial["objective"] for trial in done])
    spread = float(np.ptp(objectives)) or 1.0
    columns = [positions(space[name], [trial["hyperparameters"][name] for trial in done]) for name in space]
    columns.append((objectives - objectives.min()) / spread)
    names = [*space, tuning.best["objective_name"]]
    width = 120 + 120 * (len(names) - 1)
    drawing, height = Drawing(width, 250, "Trials side by side"), Scale(0, 1, 195, 25)
    for at, name in enumerate(names):
        drawing.line((60 + 120 * at, 25), (60 + 120 * at, 195), "axis")
        drawing.text(60 + 120 * at, 218, name, "tick", "middle")
    for trial, places in sorted(zip(done, np.column_stack(columns), strict=True), key=lambda pair: pair[1][-1]):
        is_best = trial["number"] == tuning.best["trial"]
        points: list[Point] = [(60 + 120 * at, height(float(place))) for at, place in enumerate(places)]
        told = ", ".join(f"{name} {value}" for name, value in trial["hyperparameters"].items())
        hint = f"trial {trial['number']}: {short(trial['objective'])} with {told}"
        drawing.path(points, f"curve {color(1) if is_best else color(0)}{'' if is_best else ' thin'}", hint)
    return drawing.svg()


def importances(tuning: Tuning) -> list[tuple[str, float]]:
    """How much of the objective's spread goes with each hyperparameter alone, 0..1, the largest first."""
    trials = [TrialRecord.from_json(trial) for trial in tuning.trials]
    done = [trial for trial in trials if trial.state is TrialState.COMPLETED]
    return sorted(correlations(done, parse_space(tuning.best["space"])).items(), key=lambda item: -item[1])


def color(number: int) -> str:
    """The class of the colour of model or line `number`."""
    return f"c{number % COLORS}"


def _legend(entries: Sequence[tuple[str, str]]) -> Markup:
    items = Markup("").join(Markup('<li class="{}">{}</li>').format(css, name) for name, css in entries)
    return Markup('<ul class="legend">{}</ul>').format(items)


def _cut(name: str) -> str:
    return name if len(name) <= 28 else f"{name[:26]}.."
