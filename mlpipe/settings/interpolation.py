"""References between the values of a settings file: ${KEY} of the same section, ${SECTION:KEY}; and $$ for a $.

The syntax is that of `configparser.ExtendedInterpolation`. That class expands without any bound on time and size (ten
values that each name the one before ten times make ten thousand million copies), so the expansion is done here: each
value once, with a limit on its length, on all of them together, and on the depth.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from mlpipe.settings.entries import Entry
from mlpipe.settings.problems import Problems, shown

MAX_DEPTH = 10
"""References that lead from one to the next, as in `configparser`."""
MAX_VALUE = 10_000
"""Characters of one value with references."""
MAX_TOTAL = 4_000_000
"""Characters of all values with references."""

RAW_KEYS = ("metric_regex",)
"""Keys whose values are taken as they are: a $ means something else in them."""

_TOKEN = re.compile(r"\$(?:\$|\{(?P<name>[^}]+)\})?")


def interpolated(entries: Sequence[Entry], problems: Problems) -> Iterator[Entry]:
    """The entries with every reference replaced; a value that cannot be is None, and its problem is added."""
    expander = _Expander(entries, problems)
    for entry in entries:
        if entry.key.lower() in RAW_KEYS:
            yield entry
            continue
        expanded = None if problems.is_full else expander.expand(entry)
        yield replace(entry, value=expanded.text if expanded else None)


@dataclass(frozen=True)
class _Expanded:
    """A text without references, and how many of them led to it one after the other."""

    text: str
    depth: int


class _UnresolvedError(Exception):
    """Why a value cannot be expanded."""


class _TooDeepError(_UnresolvedError):
    """The value that the expansion began with has references nested too deep."""

    def __init__(self) -> None:
        super().__init__(f"references lead to references more than {MAX_DEPTH} times")


class _Expander:
    """The values of one file, each expanded once."""

    def __init__(self, entries: Sequence[Entry], problems: Problems) -> None:
        self._problems = problems
        self._by_name: dict[tuple[str, str], Entry] = {}
        for entry in entries:
            self._by_name.setdefault((entry.section.lower(), entry.key.lower()), entry)
        self._by_line: dict[int, _Expanded | None] = {}
        self._total = 0

    def expand(self, entry: Entry, above: tuple[Entry, ...] = ()) -> _Expanded | None:
        """The value of an entry that those `above` lead to; None where it, or one that it needs, has a problem."""
        if entry.position not in self._by_line:
            try:
                expanded = self._expanded(entry, (*above, entry))
            except _UnresolvedError as error:
                if above and isinstance(error, _TooDeepError):
                    raise
                self._problems.add(entry.order, entry.problem(str(error)))
                expanded = None
            self._by_line[entry.position] = expanded
        return self._by_line[entry.position]

    def _expanded(self, entry: Entry, path: tuple[Entry, ...]) -> _Expanded | None:
        value = entry.value or ""
        parts: list[str] = []
        size = depth = end = 0
        for token in _TOKEN.finditer(value):
            replacement = self._replacement(token, path)
            if replacement is None:
                return None
            parts += (value[end : token.start()], replacement.text)
            size += len(parts[-2]) + len(parts[-1])
            if size > MAX_VALUE:
                raise _UnresolvedError(f"its references grow beyond {MAX_VALUE} characters")
            depth = max(depth, replacement.depth)
            end = token.end()
        self._count(size)
        return _Expanded("".join(parts) + value[end:], depth)

    def _replacement(self, token: re.Match[str], path: tuple[Entry, ...]) -> _Expanded | None:
        """What one token of the last entry of `path` stands for."""
        if token.group() == "$$":
            return _Expanded("$", 0)
        name = token.group("name")
        if name is None:
            raise _UnresolvedError("a lone $: write $$ for a dollar sign, ${KEY} or ${SECTION:KEY} for another value")
        target = self._by_name.get(self._full_name(name, path[-1]))
        if target is None:
            raise _UnresolvedError(f"there is no {shown(name)} in this file; write $$ for a dollar sign")
        if target in path:
            circle = " -> ".join(shown(entry.key) for entry in (*path[path.index(target) :], target))
            raise _UnresolvedError(f"the value leads back to itself: {circle}")
        if len(path) > MAX_DEPTH:
            raise _TooDeepError
        expanded = self.expand(target, path)
        if expanded is None:
            return None
        if expanded.depth >= MAX_DEPTH:
            raise _TooDeepError
        return _Expanded(expanded.text, expanded.depth + 1)

    def _full_name(self, name: str, entry: Entry) -> tuple[str, str]:
        section, colon, key = name.lower().partition(":")
        return (section, key) if colon else (entry.section.lower(), section)

    def _count(self, size: int) -> None:
        self._total += size
        if self._total > MAX_TOTAL:
            raise _UnresolvedError(f"the references of this file grow beyond {MAX_TOTAL} characters")
