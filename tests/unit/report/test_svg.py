from __future__ import annotations

from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlpipe.report.svg import Drawing, Plot, Scale, padded, ticks

NUMBERS = st.floats(-1e9, 1e9)


@given(NUMBERS, NUMBERS)
def test_ticks_are_few_and_lie_between_the_ends(one: float, other: float):
    low, high = sorted((one, other))
    found = ticks(low, high)
    assert 1 <= len(found) <= 12 or high - low < 1e-6
    slack = (high - low) * 1e-6 + 1e-9
    assert all(low - slack <= value <= high + slack for value in found)
    assert found == sorted(found)


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [(0.0, 1.0, [0, 0.2, 0.4, 0.6, 0.8, 1.0]), (-3.0, 12.0, [0, 5, 10]), (0.81, 0.84, [0.81, 0.82, 0.83, 0.84])],
)
def test_ticks_are_round_numbers(low: float, high: float, expected: list[float]):
    assert ticks(low, high) == pytest.approx(expected)


@pytest.mark.parametrize("values", [[], [2.0], [float("nan"), 1.0], [3.0, 5.0]])
def test_a_range_has_room_around_its_numbers(values: list[float]):
    low, high = padded(values)
    assert low < high
    assert all(low < value < high for value in values if value == value)


def test_a_scale_takes_numbers_to_pixels_and_one_number_alone_to_the_middle():
    assert [Scale(0, 10, 100, 0)(value) for value in (0, 5, 10)] == [100, 50, 0]
    assert Scale(3, 3, 0, 10)(3) == 5


def test_whatever_is_written_into_a_drawing_stays_text():
    hostile = "</title></svg><script>alert('x')</script>\" & "
    drawing = Drawing(100, 50, hostile)
    drawing.text(1, 2, hostile)
    drawing.dot((1, 2), "c0", hostile)
    drawing.box((1, 2), (3, 4), "c0", hostile, 0.5)
    drawing.path([(1, 2), (3, 4)], "c0", hostile)
    root = ElementTree.fromstring(str(drawing.svg()))
    assert {child.tag for child in root.iter()} == {"svg", "text", "circle", "rect", "polyline", "title"}
    assert root.attrib["aria-label"] == hostile
    assert [each.text for each in root.iter("title")] == [hostile] * 3


def test_a_plot_tells_its_numbers_where_the_pointer_rests():
    plot = Plot.framed("Loss", (0, 3), (0, 1), ("epoch", "loss"))
    plot.curve([(1, 0.5), (2, 0.25)], "c0", "training")
    root = ElementTree.fromstring(str(plot.drawing.svg()))
    assert [each.text for each in root.iter("title")] == ["training", "training: 0.5 at 1", "training: 0.25 at 2"]
