"""Small drawings as SVG: their colours are those of the page around them, so that they follow its theme and print.

All text is escaped. Lengths are in pixels of the drawing, which scales with the page.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from markupsafe import Markup

Point = tuple[float, float]


def ticks(low: float, high: float, wanted: int = 5, least: float = 0.0) -> list[float]:
    """About so many round numbers from `low` to `high`, at least `least` apart."""
    if not high > low:
        return [low]
    rough = max((high - low) / wanted, least)
    size = 10.0 ** math.floor(math.log10(rough))
    step = next(size * factor for factor in (1, 2, 5, 10) if size * factor >= rough)
    first = math.ceil(low / step - 1e-9)
    return [round(number * step, 12) for number in range(first, math.floor(high / step + 1e-9) + 1)]


def short(value: float) -> str:
    """A number for an axis."""
    return f"{value:.4g}"


@dataclass(frozen=True)
class Scale:
    """Takes the numbers from `low` to `high` to the pixels from `start` to `end`."""

    low: float
    high: float
    start: float
    end: float

    def __call__(self, value: float) -> float:
        """The pixel of a number."""
        span = self.high - self.low
        share = (value - self.low) / span if span else 0.5
        return round(self.start + share * (self.end - self.start), 2)


@dataclass
class Drawing:
    """Shapes on a ground of `width` times `height`; `title` is read out to whoever does not see it."""

    width: float
    height: float
    title: str
    parts: list[Markup] = field(default_factory=list)

    def text(self, x: float, y: float, text: object, css: str = "tick", anchor: str = "start", turn: float = 0) -> None:
        """Write something; it is `css` that says how it looks."""
        place = Markup(' transform="rotate({} {} {})"').format(turn, x, y) if turn else Markup("")
        self.parts.append(
            Markup('<text x="{}" y="{}" class="{}" text-anchor="{}"{}>{}</text>').format(x, y, css, anchor, place, text)
        )

    def line(self, start: Point, end: Point, css: str) -> None:
        """A straight line."""
        self.parts.append(Markup('<line x1="{}" y1="{}" x2="{}" y2="{}" class="{}"/>').format(*start, *end, css))

    def path(self, points: Iterable[Point], css: str, hint: str = "") -> None:
        """Lines from point to point."""
        places = " ".join(f"{x:g},{y:g}" for x, y in points)
        self.parts.append(
            Markup('<polyline points="{}" class="{}"><title>{}</title></polyline>').format(places, css, hint)
        )

    def dot(self, at: Point, css: str, hint: str = "", radius: float = 3.5) -> None:
        """A point; `hint` shows where the pointer rests on it."""
        self.parts.append(
            Markup('<circle cx="{}" cy="{}" r="{}" class="{}"><title>{}</title></circle>').format(
                *at, radius, css, hint
            )
        )

    def box(self, corner: Point, size: Point, css: str, hint: str = "", strength: float | None = None) -> None:
        """A filled rectangle, as opaque as its `strength`, 0..1."""
        opacity = Markup(' fill-opacity="{}"').format(round(strength, 3)) if strength is not None else Markup("")
        self.parts.append(
            Markup('<rect x="{}" y="{}" width="{}" height="{}" class="{}"{}><title>{}</title></rect>').format(
                *corner, *size, css, opacity, hint
            )
        )

    def svg(self) -> Markup:
        """The drawing as an element of the page."""
        head = Markup('<svg viewBox="0 0 {} {}" role="img" aria-label="{}" style="max-width:{}px">').format(
            round(self.width, 1), round(self.height, 1), self.title, round(self.width)
        )
        return head + Markup("").join(self.parts) + Markup("</svg>")


@dataclass
class Plot:
    """A drawing with two axes; `x` and `y` are their scales."""

    drawing: Drawing
    x: Scale
    y: Scale

    @classmethod
    def framed(
        cls,
        title: str,
        x_range: Point,
        y_range: Point,
        labels: tuple[str, str],
        size: Point = (460, 280),
        *,
        is_counted: bool = False,
    ) -> Plot:
        """Axes with round numbers on them and a grid; only whole ones below, where things are counted there."""
        width, height = size
        plot = cls(Drawing(width, height, title), Scale(*x_range, 56, width - 12), Scale(*y_range, height - 42, 12))
        drawing = plot.drawing
        for value in ticks(*y_range):
            drawing.line((56, plot.y(value)), (width - 12, plot.y(value)), "grid")
            drawing.text(50, plot.y(value) + 4, short(value), anchor="end")
        for value in ticks(*x_range, 6, 1.0 if is_counted else 0.0):
            drawing.line((plot.x(value), height - 42), (plot.x(value), height - 38), "axis")
            drawing.text(plot.x(value), height - 25, short(value), anchor="middle")
        drawing.line((56, height - 42), (width - 12, height - 42), "axis")
        drawing.text((56 + width - 12) / 2, height - 7, labels[0], "label", "middle")
        drawing.text(13, (height - 30) / 2, labels[1], "label", "middle", -90)
        return plot

    def curve(self, points: Sequence[Point], css: str, hint: str = "", *, dots: bool = True) -> None:
        """A line through points, each with its numbers."""
        self.drawing.path([(self.x(x), self.y(y)) for x, y in points], f"curve {css}", hint)
        for x, y in points if dots else ():
            self.dot((x, y), css, f"{hint}: {short(y)} at {short(x)}")

    def dot(self, at: Point, css: str, hint: str = "") -> None:
        """A point."""
        self.drawing.dot((self.x(at[0]), self.y(at[1])), f"dot {css}", hint)


def padded(values: Iterable[float], share: float = 0.06) -> Point:
    """The range of some numbers with a margin around them."""
    found = [value for value in values if math.isfinite(value)]
    low, high = (min(found), max(found)) if found else (0.0, 1.0)
    margin = (high - low) * share or abs(high) * share or 0.5
    return low - margin, high + margin
