"""Reading settings.ini: from a path to its entries, each with its line.

The grammar is that of the standard library's `configparser`, which does not say where it found a value. So it is given
names that say it: a key is kept together with its line, and so is a section, with a NUL character between the two. No
NUL comes from the file itself, because a file with one is refused.
"""

from __future__ import annotations

import configparser
import io
import re
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from mlpipe.errors import SettingsError
from mlpipe.settings.entries import Entry, Source
from mlpipe.settings.interpolation import interpolated
from mlpipe.settings.problems import Problems, shown

MAX_BYTES = 1_000_000
_HINT = "Settings are a text file in UTF-8; settings.ini.example is one, with every section and key."
_MARK = re.compile(r"\0\d+\0")


@dataclass(frozen=True)
class Header:
    """A [SECTION] line; `place` is what a message calls it."""

    line: int
    name: str
    place: str

    @property
    def order(self) -> tuple[int, float]:
        """Where a problem with this header is listed."""
        return (Source.FILE, self.line)


@dataclass(frozen=True)
class Document:
    """What a settings file says: its section headers and entries in the order of their lines."""

    path: Path
    headers: tuple[Header, ...]
    entries: tuple[Entry, ...]


def read_document(path: Path, problems: Problems) -> Document:
    """Read a settings file; lines that mean nothing and references that lead nowhere are added to `problems`.

    Raises SettingsError for a file that cannot be read, is empty, larger than `MAX_BYTES`, or no UTF-8 text.
    """
    text = _text(path)
    parser = _LineParser()
    try:
        parser.read_file(parser.marked(text))
    except configparser.ParsingError as error:
        _add_junk(path, text, [line - 1 for line, _ in error.errors], problems)
    above, *marks = parser.sections()
    for key, line, _ in parser.numbered(above):
        problems.add((Source.FILE, line), f"{path}:{line}: {shown(key)}: expected a [SECTION] above the first key")
    headers = [_header(mark, path, problems) for mark in marks]
    entries = [
        Entry(Source.FILE, line, header.name, key, value, f"{path}:{line}: [{shown(header.name)}] {shown(key)}")
        for header, mark in zip(headers, marks, strict=True)
        for key, line, value in parser.numbered(mark)
    ]
    return Document(path, tuple(headers), tuple(interpolated(entries, problems)))


class _LineParser(configparser.RawConfigParser):
    """The grammar of settings files; names carry their line, so none ever comes twice.

    SECTCRE also takes a header that is not closed or goes on, which is then reported; OPTCRE takes what the original
    does, in time that does not grow with the square of the blanks in a line.
    """

    SECTCRE = re.compile(r"(?P<header>\[.*)")
    OPTCRE = re.compile(r"(?P<option>[^=:]*)(?P<vi>[=:])(?P<value>.*)$")

    def __init__(self) -> None:
        super().__init__(
            strict=True,
            inline_comment_prefixes=(";",),
            empty_lines_in_values=False,
            interpolation=None,
        )
        self._line = 0

    def optionxform(self, optionstr: str) -> str:
        """The key as it is written, and the line that is being read."""
        return f"{optionstr}\0{self._line}"

    def marked(self, text: str) -> Iterator[str]:
        """The lines of `text`, each [ at the start of one marked, behind a header for what stands before the first."""
        yield f"[{_mark(0)}]\n"
        for line, content in enumerate(io.StringIO(text), start=1):
            self._line = line
            indent, bracket, rest = content.partition("[")
            yield f"{indent}[{_mark(line)}{rest}" if bracket and not indent.strip() else content

    def numbered(self, section: str) -> Iterator[tuple[str, int, str]]:
        """Key, line and value of each entry of a section."""
        for name, value in self.items(section, raw=True):
            key, _, line = name.rpartition("\0")
            if key:
                yield key, int(line), _MARK.sub("", value)


def _mark(line: int) -> str:
    return f"\0{line}\0"


def _header(mark: str, path: Path, problems: Problems) -> Header:
    """The header behind `_LineParser`'s name for it; one that is not closed, or goes on behind its ], is a problem."""
    _, line, rest = mark.split("\0", 2)
    name, closing, behind = rest.partition("]")
    header = Header(int(line), name.strip(), f"{path}:{line}: [{shown(name.strip())}]")
    if not closing:
        problems.add(header.order, f"{header.place}: the closing ] is missing")
    elif behind.strip():
        problems.add(
            header.order, f"{header.place}: expected nothing behind it but a ; comment: {shown(behind.strip())}"
        )
    return header


def _add_junk(path: Path, text: str, lines: list[int], problems: Problems) -> None:
    content = text.split("\n")
    for line in lines:
        junk = shown(content[line - 1].strip())
        problems.add((Source.FILE, line), f"{path}:{line}: {junk}: expected [SECTION], KEY = value or a comment")


def _text(path: Path) -> str:
    """The content of the file, without a byte order mark, each line ended by a line feed."""
    content = _bytes(path)
    if b"\0" in content:
        line = content.count(b"\n", 0, content.index(b"\0")) + 1
        raise SettingsError(f"{path}:{line}: a NUL byte: this is no text file in UTF-8", hint=_HINT)
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise SettingsError(f"{path}:{line}: this is no text in UTF-8", hint=_HINT) from error
    if not text.strip():
        raise SettingsError(f"{path} is empty", hint=_HINT)
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _bytes(path: Path) -> bytes:
    """At most `MAX_BYTES` of a regular file: a pipe could block and a device might never end."""
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise SettingsError(f"{path} is no file", hint=_HINT)
        if status.st_size > MAX_BYTES:
            raise SettingsError(f"{path} has {status.st_size} bytes; settings have at most {MAX_BYTES}", hint=_HINT)
        with path.open("rb") as file:
            return file.read(MAX_BYTES)
    except FileNotFoundError as error:
        run = f"a run is named so: `mlpipe infer --run-num {path}`, `mlpipe show {path}`"
        hint = run if path.name.isdecimal() else _HINT
        raise SettingsError(f"there is no settings file {path}", hint=hint) from error
    except (OSError, ValueError) as error:
        raise SettingsError(f"{path} cannot be read: {error}", hint=_HINT) from error
