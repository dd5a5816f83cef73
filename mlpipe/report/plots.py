"""The two plots of a model: how it learned, and which labels it takes for which.

Every plot is written as PNG and as SVG with the same stem, byte for byte the same for the same numbers and the same
matplotlib. Matplotlib is used without pyplot: no figure outlives its function, no display is asked for.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Matplotlib is imported inside the functions: it takes half a second, which a job that draws nothing should not pay.

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
"""Okabe and Ito, Color Universal Design (2008): colours that colour-blind readers can tell apart."""
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
INK, MUTED = "#222222", "#777777"
STYLE: Mapping[str, Any] = {
    "axes.titlesize": "large",
    "axes.titlelocation": "left",
    "axes.edgecolor": MUTED,
    "axes.linewidth": 0.6,
    "axes.labelcolor": INK,
    "text.color": INK,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    # Label names are shown as they are: a "$" in one starts no formula.
    "text.parse_math": False,
    # SVG element ids are random without a salt of their own, and the bytes would differ from run to run.
    "svg.hashsalt": "mlpipe",
}
COUNTED_LABELS = 25
"""Up to this many labels the cells of a confusion matrix are large enough for their counts."""
COLOUR_POWER = 0.5
LABEL_WIDTH = 32
"""Characters of a label name that a plot shows."""


def save_curves(history: Sequence[Mapping[str, float]], folder: Path, *, objective: str, best_epoch: int) -> None:
    """Draw how one training went: `curves.png` and `curves.svg` in `folder`.

    Each record of `history` is one epoch: `epoch` (from 1), validation metrics and losses (names that end in "loss",
    less the objective), the same names in each. `best_epoch`, chosen by the metric `objective`, is marked.
    """
    from matplotlib.figure import Figure

    epochs = [record["epoch"] for record in history]
    names = [name for name in history[0] if name != "epoch"]
    losses = [name for name in names if name.endswith("loss") and name != objective]
    metrics = sorted((name for name in names if name not in losses), key=lambda name: name != objective)
    with _style(font_size=10):
        figure = Figure(figsize=(9, 3.6), layout="constrained")
        left, right = figure.subplots(1, 2)
        _draw_lines(left, epochs, {name: [record[name] for record in history] for name in losses})
        left.set(title="Loss per epoch", ylabel="loss")
        _draw_lines(right, epochs, {name: [record[name] for record in history] for name in metrics})
        best = next(record[objective] for record in history if record["epoch"] == best_epoch)
        right.set(title=f"Validation: best {objective} {best:.3f} in epoch {best_epoch}", ylabel="score")
        for axes in (left, right):
            axes.axvline(best_epoch, color=MUTED, linewidth=0.8, linestyle=(0, (4, 3)), zorder=0)
        right.plot(best_epoch, best, "o", markersize=11, markerfacecolor="none", markeredgecolor=INK)
        _save(figure, folder, "curves")


def save_confusion_matrix(confusion: NDArray[np.int64], labels: Sequence[str], folder: Path) -> None:
    """Draw a confusion matrix (K, K), truth down: `confusion_matrix.png` and `confusion_matrix.svg` in `folder`.

    The colour of a cell is its share of the rows of its true label; up to 25 labels the cells show their counts too.
    """
    is_small = len(labels) <= COUNTED_LABELS
    side = max(3.0, len(labels) * (0.42 if is_small else 0.13))
    names = [_shown(label) for label in labels]
    label_size = 9 if is_small else 6.5
    with _style(font_size=max(10, side)):
        figure, axes, bar_axes = _square_beside_bar(side, names, label_size, is_named_all_round=not is_small)
        _draw_cells(axes, bar_axes, confusion)
        _name_cells(axes, names, label_size)
        if is_small:
            _write_counts(axes, confusion, font_size=12 if len(labels) <= 5 else 9)
        else:
            axes.tick_params(labeltop=True, labelright=True)
        total = int(confusion.sum())
        axes.set(xlabel="predicted label", ylabel="true label")
        axes.set_title(f"{total:,} rows, {np.trace(confusion) / max(total, 1):.1%} on the diagonal", pad=10)
        _save(figure, folder, "confusion_matrix")


@contextmanager
def _style(*, font_size: float) -> Iterator[None]:
    """The look of all plots, set while one is drawn and saved, and only then."""
    import matplotlib as mpl

    parameters: Any = {**STYLE, "font.size": font_size}
    with mpl.rc_context(parameters), warnings.catch_warnings():
        # A label in a script that the font lacks is drawn as boxes; a line for each glyph of it helps nobody.
        warnings.filterwarnings("ignore", "Glyph .* missing from font")
        yield


def _draw_lines(axes: Axes, epochs: Sequence[float], curves: Mapping[str, Sequence[float]]) -> None:
    from matplotlib.ticker import MaxNLocator

    for i, (name, values) in enumerate(curves.items()):
        style: dict[str, Any] = {
            "color": COLOURS[i % len(COLOURS)],
            # Shifted in every round of the colours, so that no two lines look the same.
            "marker": MARKERS[(i + i // len(COLOURS)) % len(MARKERS)],
            "markersize": 4,
        }
        axes.plot(
            epochs, values, label=name.replace("_", " "), linewidth=2 if i == 0 else 1.2, zorder=3 - i / 10, **style
        )
    axes.set(xlabel="epoch", xlim=(epochs[0] - 0.4, epochs[-1] + 0.4))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    axes.grid(axis="y", color="#e6e6e6", linewidth=0.6)
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(width=0.6, color=MUTED)
    axes.legend(frameon=False, ncols=1 if len(curves) <= len(COLOURS) else 2)


def _square_beside_bar(
    side: float, names: Sequence[str], label_size: float, *, is_named_all_round: bool
) -> tuple[Figure, Axes, Axes]:
    """A figure, axes of `side` x `side` inches and those of its colour bar, with the room that the names need.

    Far from the left edge nobody can follow a row to its name, so a large matrix is named on all sides. The room is
    computed here: the layout engines of matplotlib take ten seconds for 150 labels, and cut the title off.
    """
    import matplotlib as mpl
    from matplotlib.figure import Figure
    from matplotlib.textpath import TextPath

    line = 1.6 * mpl.rcParams["font.size"] / 72
    widths = [TextPath((0, 0), text, size=label_size).get_extents().width for text in names]
    # A twentieth more, because on the pixels of a PNG letters are set a little wider than they are.
    name = 0.2 + 1.05 * max(0.0, *widths) / 72
    before, after = name + 1.2 * line, 0.2 + name * is_named_all_round
    width, height = before + side + after + 5 * line, before + side + after + 1.5 * line
    figure = Figure(figsize=(width, height))
    bar_side = min(0.8 * side, 5.0)
    bar = (before + side + after, before + (side - bar_side) / 2, 0.7 * line, bar_side)
    scale = np.array([width, height, width, height])
    axes = figure.add_axes(tuple(np.array([before, before, side, side]) / scale))
    return figure, axes, figure.add_axes(tuple(np.array(bar) / scale))


def _draw_cells(axes: Axes, bar_axes: Axes, confusion: NDArray[np.int64]) -> None:
    """Colour each cell by its share of its row, on a square-root scale: errors are rare, and are what is looked for."""
    from matplotlib.colors import PowerNorm

    norm = PowerNorm(COLOUR_POWER, vmin=0, vmax=1)
    image = axes.imshow(_row_shares(confusion), cmap="Blues", norm=norm, interpolation="nearest")
    bar = axes.figure.colorbar(image, cax=bar_axes, ticks=[0, 0.05, 0.2, 0.4, 0.6, 0.8, 1])
    bar.outline.set_visible(False)
    bar_axes.yaxis.set_major_formatter("{x:.0%}")
    bar_axes.tick_params(width=0.4, color=MUTED)
    bar.set_label("share of the true label's rows")


def _name_cells(axes: Axes, labels: Sequence[str], font_size: float) -> None:
    ticks = np.arange(len(labels))
    axes.set_xticks(ticks, labels, rotation=90, fontsize=font_size)
    axes.set_yticks(ticks, labels, fontsize=font_size)
    axes.set_xticks(ticks[1:] - 0.5, minor=True)
    axes.set_yticks(ticks[1:] - 0.5, minor=True)
    axes.grid(which="minor", color="white", linewidth=0.5)
    axes.tick_params(which="minor", length=0)
    axes.tick_params(which="major", length=2, width=0.4, color=MUTED)
    axes.spines[:].set_visible(False)


def _write_counts(axes: Axes, confusion: NDArray[np.int64], *, font_size: float) -> None:
    is_dark = _row_shares(confusion) ** COLOUR_POWER > 0.55
    for row, column in zip(*np.nonzero(confusion), strict=True):
        count = f"{confusion[row, column]:,}"
        size = font_size if len(count) <= 4 else 0.7 * font_size
        colour = "white" if is_dark[row, column] else INK
        axes.text(column, row, count, ha="center", va="center", color=colour, fontsize=size)


def _row_shares(confusion: NDArray[np.int64]) -> NDArray[np.float64]:
    """Each count as a share of its row; a row without counts stays 0."""
    return np.asarray(confusion / np.maximum(confusion.sum(axis=1, keepdims=True), 1), dtype=np.float64)


def _shown(label: str) -> str:
    """The label on one line, without characters that no font draws and no SVG may hold, cut to a readable width."""
    line = "".join(character if character.isprintable() else " " for character in label)
    return line if len(line) <= LABEL_WIDTH else f"{line[: LABEL_WIDTH - 1]}…"


def _save(figure: Figure, folder: Path, stem: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    figure.savefig(folder / f"{stem}.png", dpi=150, metadata={"Software": None})
    figure.savefig(folder / f"{stem}.svg", dpi=150, metadata={"Date": None, "Creator": None})
