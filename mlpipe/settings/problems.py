"""Problems of the settings: collected while they are read, and raised together, so that one error names all of them."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from mlpipe.errors import SettingsError

MAX_PROBLEMS = 100
"""As many are listed. More than that is another kind of file, and looking for the nearest names takes time."""

_HINT = "Nothing was started. settings.ini.example documents every section and key."


class Problems:
    """The problems met so far, each with its place in the reading order: (source, line or ordinal)."""

    def __init__(self) -> None:
        self._found: list[tuple[tuple[int, float], str]] = []

    @property
    def is_full(self) -> bool:
        """True once so many problems are known that looking for more is of no use."""
        return len(self._found) > MAX_PROBLEMS

    def add(self, order: tuple[int, float], text: str) -> None:
        """Note one problem; `text` is its whole line of the error message."""
        if not self.is_full:
            self._found.append((order, text))

    def raise_if_any(self) -> None:
        """Raise a SettingsError that lists the problems in the order of their places; return if there are none."""
        if not self._found:
            return
        found = sorted(self._found, key=lambda problem: problem[0])
        lines = [text for _, text in found[:MAX_PROBLEMS]]
        if self.is_full:
            lines.append(f"and more: only the first {MAX_PROBLEMS} problems are shown")
        raise SettingsError("\n".join(lines), hint=_HINT)


def shown(text: str, limit: int = 60) -> str:
    """`text` as it may stand in a message: on one line, cut to `limit` characters, nothing that a terminal obeys."""
    start = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text[: limit + 1])
    return start if len(start) <= limit else f"{start[:limit]}…"


def nearest(name: str, valid: Iterable[str]) -> str | None:
    """The valid name that is most like `name`, whatever the case; None where none is alike."""
    by_lower = {candidate.lower(): candidate for candidate in valid}
    matches = difflib.get_close_matches(name.lower(), by_lower, n=1)
    return by_lower[matches[0]] if matches else None
