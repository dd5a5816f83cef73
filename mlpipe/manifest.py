"""Manifests: what a commit unit consists of, file by file, and the check that nothing of it has changed.

A unit is complete when it has `manifest.json` (sha256 and size of every file) and, written last, `_SUCCESS` (the sha256
of the manifest). Readers require the second and check sums before they use a file.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

from mlpipe.errors import IntegrityError
from mlpipe.specs import FileRecord

MANIFEST = "manifest.json"
SUCCESS = "_SUCCESS"

ALTERED_HINT = (
    "restore it from a backup; a folder below data/ can be deleted instead, and is made again by the next command"
)


def sha256_of(path: Path) -> str:
    """The sha256 of a file's content, in hex, read in pieces."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def digest(data: bytes) -> str:
    """The sha256 of some bytes, in hex."""
    return hashlib.sha256(data).hexdigest()


def to_bytes(document: object) -> bytes:
    """A JSON document as the bytes that mlpipe files: indented, in the given order of keys, with a final newline."""
    return (json.dumps(document, indent=2, ensure_ascii=False) + "\n").encode()


def flush_to_disk(path: Path) -> None:
    """Make what was written to a file, or the names in a folder, survive a crash of the machine."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_manifest(folder: Path) -> None:
    """Write `manifest.json` over every file below `folder`, in the order of their paths."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    records = {
        path.relative_to(folder).as_posix(): asdict(FileRecord(sha256_of(path), path.stat().st_size)) for path in files
    }
    (folder / MANIFEST).write_bytes(to_bytes({"files": records}))


def parse_manifest(content: bytes, source: str) -> dict[str, FileRecord]:
    """Read the bytes of a manifest; IntegrityError, naming `source`, where they are not one."""
    try:
        return {name: FileRecord(**record) for name, record in json.loads(content)["files"].items()}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise IntegrityError(f"{source} is not a manifest: {error}", hint=ALTERED_HINT) from error


def check_content(content: bytes, record: FileRecord, source: str) -> None:
    """Raise IntegrityError unless `content` is what the manifest vouches for."""
    if len(content) != record.size or digest(content) != record.sha256:
        raise IntegrityError(f"{source} has changed since it was committed (its sha256 differs)", hint=ALTERED_HINT)


def check_folder(folder: Path, files: Mapping[str, FileRecord], source: str) -> None:
    """Raise IntegrityError unless every listed file stands below `folder` with its size and sha256.

    Files that are not listed are not looked at; `source` is how messages name the folder.
    """
    for name, record in files.items():
        path = folder / name
        if not path.is_file():
            raise IntegrityError(f"{source}/{name} is missing", hint=ALTERED_HINT)
        if path.stat().st_size != record.size or sha256_of(path) != record.sha256:
            raise IntegrityError(
                f"{source}/{name} has changed since it was committed (its sha256 differs)", hint=ALTERED_HINT
            )


def below(files: Mapping[str, FileRecord], folder: str) -> dict[str, FileRecord]:
    """The records of one subfolder, by their paths relative to it."""
    prefix = f"{folder}/"
    return {name.removeprefix(prefix): record for name, record in files.items() if name.startswith(prefix)}
