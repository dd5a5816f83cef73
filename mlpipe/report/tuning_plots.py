"""The plots of a tuning: its history, what mattered, the trials side by side, and their learning curves."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mlpipe.specs import TrialRecord, TrialState, TuningSpec
from mlpipe.tuning.space import Categories, Interval, Space, parse_space


def save_tuning_plots(trials: Sequence[TrialRecord], tuning: TuningSpec, folder: Path) -> None:
    """Write history.png, importances.png, parallel_coordinates.png and learning_curves.png below `folder`.

    Importances need at least four completed trials that differ in their objective; without, there is no such plot.
    """
    folder.mkdir(parents=True, exist_ok=True)
    _save(folder / "history.png", _draw_history, trials, tuning)
    _save(folder / "learning_curves.png", _draw_curves, trials, tuning)
    _save(folder / "parallel_coordinates.png", _draw_parallel, trials, tuning)
    if importances := correlations(trials, parse_space(tuning.space)):
        _save(folder / "importances.png", _draw_importances, importances)


def correlations(trials: Sequence[TrialRecord], space: Space) -> dict[str, float]:
    """How much of the objective's spread goes with each hyperparameter alone, from 0 to 1, over completed trials.

    Of an interval, the square of Spearman's rank correlation; of categories, the correlation ratio (the variance of the
    categories' means by that of all). One hyperparameter at a time: what only matters together shows in neither.
    Empty where fewer than four trials have completed, or all have the same objective.
    """
    done = [trial for trial in trials if trial.state is TrialState.COMPLETED and trial.objective is not None]
    objectives = np.array([trial.objective for trial in done], dtype=float)
    if len(done) < 4 or np.ptp(objectives) == 0:
        return {}
    found = {}
    for name, tunable in space.items():
        values = positions(tunable, [trial.hyperparameters[name] for trial in done])
        ratio = _correlation_ratio if isinstance(tunable, Categories) else _rank_correlation
        found[name] = ratio(values, objectives)
    return found


def positions(tunable: Categories | Interval, texts: Sequence[str]) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Where values lie on the axis of their tunable, from 0 to 1."""
    if isinstance(tunable, Categories):
        places = {text: number for number, text in enumerate(tunable.texts)}
        return np.array([places[text] for text in texts], dtype=float) / max(1, len(places) - 1)
    values, ends = np.array([float(text) for text in texts]), np.array([tunable.low, tunable.high], dtype=float)
    if tunable.scale == "log":
        values, ends = np.log(values), np.log(ends)
    elif tunable.scale == "reverse log":
        values, ends = -np.log1p(-values), -np.log1p(-ends)
    scaled: np.ndarray[Any, np.dtype[np.float64]] = (values - ends[0]) / (ends[1] - ends[0])
    return scaled


def _rank_correlation(values: Any, objectives: Any) -> float:
    if np.ptp(values) == 0:
        return 0.0
    return float(np.corrcoef(_ranks(values), _ranks(objectives))[0, 1] ** 2)


def _ranks(values: Any) -> Any:
    """The rank of each value; equal ones share the mean of theirs."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    return (np.cumsum(counts) - (counts - 1) / 2)[inverse]


def _correlation_ratio(values: Any, objectives: Any) -> float:
    means = np.array([objectives[values == value].mean() for value in values])
    return float(means.var() / objectives.var())


def _save(path: Path, draw: Any, *arguments: Any) -> None:
    """Draw a figure without any window, and write it."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4), layout="constrained")
    FigureCanvasAgg(figure)
    draw(figure.subplots(), *arguments)
    figure.savefig(path, dpi=120, metadata={"Software": None})


def _draw_history(axes: Any, trials: Sequence[TrialRecord], tuning: TuningSpec) -> None:
    done = [trial for trial in trials if trial.objective is not None and trial.state is not TrialState.FAILED]
    numbers, values = [trial.number for trial in done], np.array([trial.objective for trial in done], dtype=float)
    axes.scatter(numbers, values, label="trial")
    best = np.maximum.accumulate if tuning.maximizes else np.minimum.accumulate
    if done:
        axes.step(numbers, best(values), where="post", color="tab:orange", label="best so far")
        axes.legend()
    axes.set(title="Optimisation history", xlabel="trial", ylabel=tuning.objective)


def _draw_curves(axes: Any, trials: Sequence[TrialRecord], tuning: TuningSpec) -> None:
    for trial in trials:
        style = {TrialState.COMPLETED: "-", TrialState.STOPPED: ":", TrialState.FAILED: "--"}[trial.state]
        epochs = range(1, len(trial.curve) + 1)
        axes.plot(epochs, trial.curve, style, marker=".", label=f"trial {trial.number}")
    axes.set(title="Learning curves (dotted: stopped early)", xlabel="report", ylabel=tuning.objective)
    if 0 < len(trials) <= 12:
        axes.legend(fontsize="x-small", ncols=2)


def _draw_parallel(axes: Any, trials: Sequence[TrialRecord], tuning: TuningSpec) -> None:
    from matplotlib import colormaps

    space = parse_space(tuning.space)
    done = [trial for trial in trials if trial.objective is not None and trial.state is TrialState.COMPLETED]
    names = [*space, tuning.objective]
    columns = [positions(space[name], [trial.hyperparameters[name] for trial in done]) for name in space]
    objectives = np.array([trial.objective for trial in done], dtype=float)
    spread = np.ptp(objectives) if len(done) else 0.0
    scaled = (objectives - objectives.min()) / spread if spread else np.full(len(done), 0.5)
    for row, color in zip(np.column_stack([*columns, scaled]), scaled, strict=True):
        axes.plot(range(len(names)), row, color=colormaps["viridis"](color))
    axes.set(title="Trials (brighter: higher objective)", yticks=[0, 1], yticklabels=["low", "high"])
    axes.set_xticks(range(len(names)), names, rotation=20)


def _draw_importances(axes: Any, importances: dict[str, float]) -> None:
    ranked = sorted(importances.items(), key=lambda item: item[1])
    axes.barh([name for name, _ in ranked], [value for _, value in ranked])
    axes.set(title="What goes with the objective, one at a time", xlabel="share of its spread", xlim=(0, 1))
