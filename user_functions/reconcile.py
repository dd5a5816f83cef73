"""Where the demo's rows come from: the docstrings of the standard library of the Python that runs this."""

from __future__ import annotations

import ast
import sysconfig
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path

# Tests and programs that are installed with the library, but are no part of it.
SKIPPED = {"site-packages", "dist-packages", "test", "tests", "idlelib", "lib2to3", "turtledemo"}


def reconcile(settings):
    """Yield one row for each docstring; its label is the top-level package or module that it belongs to.

    Very short docstrings are left out, and so is every package with few docstrings: nothing can be learned from them.
    """
    library = Path(sysconfig.get_path("stdlib"))
    files = sorted(path.relative_to(library) for path in library.rglob("*.py"))
    for label, modules in groupby(files, key=lambda path: path.parts[0].removesuffix(".py")):
        rows = {}
        for module in modules:
            if SKIPPED.isdisjoint(module.parts):
                for name, text in docstrings(ast.parse((library / module).read_bytes()), module.as_posix()):
                    if len(text.split()) >= int(settings.user["MIN_WORDS"]):
                        rows.setdefault(text, {"text": text, "label": label, "source": name})
        if len(rows) >= int(settings.user["MIN_DOCSTRINGS"]):
            yield from rows.values()


def docstrings(node: ast.AST, name: str) -> Iterator[tuple[str, str]]:
    """Yield the name and the docstring of a module, of its classes and functions, and of what they contain."""
    text = ast.get_docstring(node)
    if text:
        yield name, text
    for child in node.body:
        if isinstance(child, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            yield from docstrings(child, f"{name}:{child.name}")
