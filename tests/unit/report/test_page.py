from __future__ import annotations

import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest
from unit.report.made_up import HOSTILE, run_findings

from mlpipe.report.charts import confusion, intervals
from mlpipe.report.page import render_page, warnings

VOID = {"meta", "link", "br", "img", "input"}


class Outline(HTMLParser):
    """The elements of a page, its text, and whether every element that was opened is closed in order."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.texts: list[str] = []
        self.links: list[str] = []
        self.feed(page)
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.links += [value or "" for name, value in attrs if name in ("href", "src")]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


@pytest.mark.parametrize(("labels", "models"), [(2, 1), (3, 2), (150, 6)])
def test_a_page_is_well_formed_and_not_too_large(labels: int, models: int):
    page = render_page(run_findings(labels, models, is_tuned=True))
    found = Outline(page)
    assert len(page) < 5e6
    assert {link for link in found.links if not link.startswith("#")} == {"data:,"}
    for number in range(models):
        assert f"model-{number}" in found.texts


def test_texts_labels_errors_and_settings_are_never_markup():
    found = Outline(render_page(run_findings()))
    assert found.tags.count("script") == 1, "the page's own"
    assert "b" not in found.tags
    assert "img" not in found.tags
    assert HOSTILE in found.texts


def test_everything_that_a_link_leads_to_is_there():
    page = render_page(run_findings(3, 2))
    for target in re.findall(r'href="#([^"]+)"', page):
        assert f'id="{target}"' in page


def test_one_model_alone_has_no_comparison():
    assert 'id="comparison"' not in render_page(run_findings(3, 1))
    assert 'id="comparison"' in render_page(run_findings(3, 2))


def test_a_reader_is_warned_of_what_makes_scores_doubtful():
    said = list(warnings(run_findings()))
    assert [text.partition(" ")[0] for text in said] == ["broken", "These", "2", "2", "No"]
    assert "2 of 200 test rows are nearly equal to a row of the train split (1 letter for letter)" in said[2]
    assert "not committed" in next(warnings(replace(run_findings(), comparison={"failed": []}, committed="")))


def test_numbers_stand_in_the_cells_of_a_small_matrix_and_at_the_pointer_of_a_large_one():
    small, large = run_findings(3, 1).models[0], run_findings(150, 1, rows=2000).models[0]
    assert 'class="cell' in confusion(small.labels, small.confusion)
    drawn = confusion(large.labels, large.confusion)
    assert 'class="cell' not in drawn
    assert "label-003, given label-003: " in drawn


def test_an_interval_is_drawn_with_its_numbers():
    drawn = intervals([("<m>", {"value": 0.5, "low": 0.25, "high": 0.75}, "c0")], "scores", 0.0)
    assert "&lt;m&gt;: 0.500 [0.250, 0.750]" in drawn


def test_what_was_billed_is_shown_for_the_run_and_for_every_model():
    found = run_findings()
    models = (replace(found.models[0], training_usd=2.0), *found.models[1:])
    page = render_page(replace(found, models=models, cost_usd=2.5))
    assert "2.50 US dollars" in page
    assert "<td>2.00</td>" in page


def test_what_ran_on_this_machine_has_no_cost():
    page = render_page(run_findings())
    assert "US dollars" not in page
    assert "USD" not in page
