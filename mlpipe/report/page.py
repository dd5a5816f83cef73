"""The report of a run as one page of HTML that needs nothing else: no network, no other file."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping

from jinja2 import Environment, PackageLoader, StrictUndefined

from mlpipe import __version__
from mlpipe.evaluation.comparison import ALPHA
from mlpipe.report import charts
from mlpipe.report.findings import Document, RunFindings

_UNPRINTABLE = re.compile("[\x7f-\x9f\u2028\u2029\ud800-\udfff\ufeff\ufffe\uffff]")


def render_page(findings: RunFindings) -> str:
    """The page. Everything that comes from rows, labels or settings is escaped: it is data, never markup."""
    template = environment().get_template("report.html.j2")
    return template.render(
        run=findings,
        estimates=list(_estimates(findings)),
        warnings=list(warnings(findings)),
        versions=_versions(findings),
        version=__version__,
    )


def environment() -> Environment:
    """Templates of this package; escaping is on for all of them but those of plain text."""
    loaded = Environment(
        loader=PackageLoader("mlpipe.report"),
        autoescape=lambda name: name is None or ".md" not in name,
        undefined=StrictUndefined,
        keep_trailing_newline=True,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    loaded.filters |= {
        "duration": duration,
        "interval": interval,
        "md": markdown,
        "p_value": p_value,
        "points": points,
        "size": size,
        "sum_of": sum_of,
        "yaml": yaml_text,
    }
    loaded.globals |= {"charts": charts, "probable": ALPHA}
    return loaded


def warnings(findings: RunFindings) -> Iterator[str]:
    """What a reader has to know before believing a number."""
    for outcome in findings.comparison["failed"]:
        first_line = outcome["error"].partition("\n")[0]
        yield f"{outcome['model_name']} failed and is not part of this report: {first_line}"
    if not findings.committed:
        yield f"Run {findings.run_num} is not committed: its models may still change."
    if findings.test_openings > 1:
        yield (
            f"These test rows were opened {findings.test_openings} times. Every choice that was made after "
            "looking at them makes their scores a little too good."
        )
    yield from _leaks(findings.card)
    if without := findings.card["labels_without_test_rows"]:
        yield f"No test row has the label {', '.join(without)}: nothing is known of it."


def _leaks(card: Document) -> Iterator[str]:
    near = card.get("near_duplicates") or {}
    for pair, leak in near.get("leaks", {}).items():
        if leak["near"]:
            split, _, other = pair.partition("_in_")
            yield (
                f"{leak['near']} of {card['rows'][split]} {split} rows are nearly equal to a row of the {other} split "
                f"({leak['identical']} letter for letter): a model may remember them."
            )
    cut = (card["groups"] or {}).get("across_splits", 0)
    if cut:
        yield f"{cut} groups have rows in several splits: a model may recognise the group instead of the label."


def _estimates(findings: RunFindings) -> Iterator[tuple[str, list[tuple[str, Document, str]]]]:
    """What the first plots show: a score, and its value for every model and yardstick."""
    measured = findings.comparison.get("yardsticks", {}).get("measured", [])
    for score, title in (("accuracy", "accuracy"), ("macro_f1", "macro F1")):
        models = [(model.name, model.scores[score], charts.color(at)) for at, model in enumerate(findings.models)]
        yield title, [*models, *((each["name"], each[score], "faint") for each in measured)]


def _versions(findings: RunFindings) -> dict[str, str]:
    """The versions of all jobs; several of one package where they differed."""
    found: dict[str, list[str]] = {}
    for job in findings.jobs:
        for name, number in job.get("versions", {}).items():
            if number not in found.setdefault(name, []):
                found[name].append(number)
    return {name: ", ".join(numbers) for name, numbers in found.items()}


def interval(estimate: Document) -> str:
    """A score with its interval."""
    return f"{estimate['value']:.3f} [{estimate['low']:.3f}, {estimate['high']:.3f}]"


def points(estimate: Document) -> str:
    """A difference in percentage points, with its interval."""
    return f"{100 * estimate['value']:+.1f} [{100 * estimate['low']:+.1f}, {100 * estimate['high']:+.1f}]"


def size(count: float) -> str:
    """Bytes, as people say them."""
    return f"{count / 1e6:.1f} MB" if count >= 1e5 else f"{count / 1e3:.1f} kB"


def duration(seconds: float | None) -> str:
    """Seconds, as people say them."""
    if seconds is None:
        return "-"
    if seconds < 120:
        return f"{seconds:.1f} s"
    return f"{seconds / 60:.1f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def p_value(value: float) -> str:
    """A p-value; below a thousandth, its size is of no use to anybody."""
    return f"{value:.3f}" if value >= 0.001 else "< 0.001"


def sum_of(counts: Mapping[str, int]) -> int:
    """All counts together."""
    return sum(counts.values())


def markdown(text: object) -> str:
    """A text that is no markup in Markdown, and ends no cell of a table."""
    return re.sub(r"([\\`*_{}\[\]<>|#])", r"\\\1", " ".join(str(text).split()))


def yaml_text(value: object) -> str:
    """A text in double quotes that YAML 1.1 and Python read alike, whatever stands in it.

    A string of JSON is such, with characters above U+FFFF as they are (YAML knows no surrogate pairs), and escapes for
    what YAML takes for a break, or for not printable.
    """
    return _UNPRINTABLE.sub(lambda found: f"\\u{ord(found[0]):04x}", json.dumps(str(value), ensure_ascii=False))
