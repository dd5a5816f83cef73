"""Settings as they are written: one `Entry` for each value in the file, the environment and the --set options."""

from __future__ import annotations

import enum
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from mlpipe.settings.problems import Problems, shown
from mlpipe.settings.schema import SECTION_MODELS

_PREFIX = "MLPIPE_"
NOT_SETTINGS = frozenset({"MLPIPE_PARENT_FD"})
"""Variables that begin like a setting and are none."""


class Source(enum.IntEnum):
    """Where a value comes from; the higher source wins."""

    FILE = 0
    ENVIRONMENT = 1
    OPTION = 2


@dataclass(frozen=True)
class Entry:
    """One value as it is written.

    `position` is its line in the file, or its place among the variables or options. `section` and `key` have the
    spelling of the source. `value` is None where the file's references could not be resolved. `place` is what a
    message calls the entry.
    """

    source: Source
    position: int
    section: str
    key: str
    value: str | None
    place: str

    @property
    def order(self) -> tuple[int, float]:
        """Where a problem with this entry is listed."""
        return (self.source, self.position)

    def problem(self, reason: str, *, is_known: bool = True) -> str:
        """The line of the error message.

        The value of a variable that is no setting is not repeated: nobody knows what it holds.
        """
        if "\n" in (self.value or ""):
            reason = f"{reason}; a line that begins with blanks belongs to the value above it"
        repeats = self.value is not None and (is_known or self.source is not Source.ENVIRONMENT)
        return f"{self.place} = {shown(self.value or '')}: {reason}" if repeats else f"{self.place}: {reason}"


def environment_entries(environment: Mapping[str, str], problems: Problems) -> Iterator[Entry]:
    """The settings among environment variables: MLPIPE_<SECTION>__<KEY>, split at the first double underscore."""
    names = sorted(name for name in environment if name.startswith(_PREFIX) and name not in NOT_SETTINGS)
    for position, name in enumerate(names):
        place = f"environment {shown(name)}"
        section, separator, key = name.removeprefix(_PREFIX).partition("__")
        if separator:
            yield Entry(Source.ENVIRONMENT, position, section, key, environment[name].strip(), place)
        else:
            problems.add((Source.ENVIRONMENT, position), f"{place}: no setting; expected MLPIPE_<SECTION>__<KEY>")


def option_entries(options: Sequence[str], problems: Problems) -> Iterator[Entry]:
    """The settings of --set options: section.key=value, split at the first `=` and the last dot before it."""
    for position, option in enumerate(options):
        name, separator, value = option.partition("=")
        section, dot, key = name.strip().rpartition(".")
        if separator and dot and section and key:
            place = f"--set {shown(name.strip())}"
            yield Entry(Source.OPTION, position, section.strip(), key.strip(), value.strip(), place)
        else:
            problems.add((Source.OPTION, position), f"--set {shown(option)}: expected section.key=value{_hint(name)}")


def _hint(name: str) -> str:
    """Where the key of a section-less option belongs."""
    homes = [section for section, model in SECTION_MODELS.items() if name.strip().lower() in model.model_fields]
    return "".join(f"; did you mean {home.lower()}.{name.strip().lower()}=...?" for home in homes)
