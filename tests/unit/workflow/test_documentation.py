"""The page that takes a reader from a function to Tasks."""

from __future__ import annotations

import contextlib
import io
import re
import textwrap
from pathlib import Path

PAGE = (Path(__file__).parents[3] / "docs" / "workflow.md").read_text(encoding="utf-8")


def test_the_example_prints_what_the_page_says():
    code = next(block for block in re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL) if "class ReadPages" in block)
    (shown,) = re.findall(r"\nprints\n\n((?:    .*\n)+)", PAGE)
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(code, {"__name__": "page"})
    assert printed.getvalue() == textwrap.dedent(shown)
