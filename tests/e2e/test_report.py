"""The report of a run as a reader sees it: in a browser, whatever its rows say."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from e2e.project import Finished, Project, error_of, hashes, make_project

PNG = (
    "89504e470d0a1a0a0000000d4948445200000002000000020802000000fdd49a730000001049444154789c6338212707"
    "440c100a001f260411a28f22af0000000049454e44ae426082"
)
HOSTILE = "<script>document.title='taken'</script> <img src=x onerror=alert(1)>"

WITH_PICTURES = f"""

def reconcile(settings):
    with Path(settings.user["CSV"]).open(newline="") as file:
        for row in csv.DictReader(file):
            yield {{**row, "picture": bytes.fromhex("{PNG}")}}
"""

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A finished run in which every row of one label is an attempt at the reader."""
    project = make_project(tmp_path_factory.mktemp("hostile") / "project")
    project.edit("texts.csv", "apricot", HOSTILE)
    functions = project.folder / "functions.py"
    functions.write_text(functions.read_text() + WITH_PICTURES)
    project.mlpipe("run", "--set", "hyperparameters.epochs=1", "--set", "hyperparameters.learning_rate=0.0001")
    return project


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Chromium without a window."""
    if BROWSER is None:
        pytest.skip("there is no chromium on this machine; on Debian: apt install chromium")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=BROWSER, args=["--no-sandbox"])
        yield running
        running.close()


@pytest.mark.browser
@pytest.mark.parametrize(("scheme", "width"), [("light", 1280), ("dark", 1280), ("light", 390)])
def test_a_report_opens_without_an_error_or_a_request(hostile: Project, browser: Any, scheme: str, width: int):
    page = browser.new_page(color_scheme=scheme, viewport={"width": width, "height": 900})
    said, asked = [], []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("request", lambda request: asked.append(request.url))
    address = (hostile.run / "report.html").as_uri()
    page.goto(address)
    assert (said, asked) == ([], [address])
    assert page.title() == "tiny, run 1"
    assert page.locator("td.row", has_text=HOSTILE).count() > 0
    assert page.evaluate("document.documentElement.scrollWidth") <= width, "nothing is cut off at the side"
    assert page.evaluate("document.images.length") > 0, "rows have a picture each"
    assert page.evaluate("[...document.images].every((image) => image.complete && image.naturalWidth > 0)")
    drawings = page.locator("svg").all()
    assert len(drawings) == 11, "2 of scores, 1 of calibration, 2 of the pair, 3 of each model"
    assert all(drawing.bounding_box()["height"] > 20 for drawing in drawings if drawing.is_visible())
    ground, ink = page.evaluate("(s => [s.backgroundColor, s.color])(getComputedStyle(document.body))")
    assert (ground == "rgb(255, 255, 255)") == (scheme == "light")
    assert ground != ink
    page.close()


@pytest.mark.browser
def test_tables_sort_and_filter(hostile: Project, browser: Any):
    page = browser.new_page()
    page.goto((hostile.run / "report.html").as_uri())
    table = page.locator("#data table.filtered").first
    names = lambda: [cell.inner_text() for cell in table.locator("tbody tr:visible td:first-child").all()]  # noqa: E731
    head = table.locator("th", has_text="label")
    assert names() == ["fruit", "metal", "river"]
    for order in (["fruit", "metal", "river"], ["river", "metal", "fruit"]):
        head.locator("button").click()
        assert names() == order
    assert head.get_attribute("aria-sort") == "descending"
    page.locator("#data input[type=search]").first.fill("MET")
    assert names() == ["metal"]
    rates = page.locator("#model-1 table.filtered")
    rates.locator("th", has_text="test rows").locator("button").press("Enter")
    counts = [int(cell.inner_text()) for cell in rates.locator("tbody td:nth-child(5)").all()]
    assert counts == sorted(counts)
    page.close()


def test_a_run_ends_with_its_report_and_cards_which_belong_to_no_manifest(finished: Finished):
    project, done = finished
    assert f"report: {project.run / 'report.html'}" in done.stdout
    cards = {path.name for path in project.run.glob("model_card.*.md")}
    assert cards == {"model_card.small.md", "model_card.large.md"}
    for manifest in project.run.rglob("manifest.json"):
        assert not [name for name in json.loads(manifest.read_text())["files"] if "report" in name or "card." in name]


def test_it_can_be_made_again_and_nothing_else_changes(finished_copy: Project):
    cards = (finished_copy.run / f"model_card.{name}.md" for name in ("small", "large"))
    for path in (finished_copy.run / "report.html", *cards):
        path.unlink()
    before = hashes(finished_copy.folder)
    printed = json.loads(finished_copy.mlpipe("report", "1", "--json").stdout)
    made = hashes(finished_copy.folder)
    written = {Path(printed["report"]), *map(Path, printed["model_cards"])}
    assert {path.name for path in written} == {"report.html", "model_card.small.md", "model_card.large.md"}
    changed = {finished_copy.folder / name for name in before | made if before.get(name) != made.get(name)}
    assert changed == written
    for path in written:
        path.unlink()
    finished_copy.mlpipe("report", "1")
    assert hashes(finished_copy.folder) == made


@pytest.mark.parametrize("name", ["inference/small/statistics.json", "settings.ini"])
def test_a_report_of_what_was_altered_is_refused(finished_copy: Project, name: str):
    quoted = finished_copy.run / name
    quoted.write_text(quoted.read_text().replace("0.", "1."))
    message = error_of(finished_copy.mlpipe("report", "1", code=4))
    assert f"{quoted.name} has changed since it was committed" in message


def test_a_run_that_does_not_exist_has_no_report(finished: Finished):
    assert "has no run 7" in error_of(finished[0].mlpipe("report", "7", code=2))
