"""Commit units: folders that are there completely or not at all, and are never changed afterwards."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mlpipe.errors import IntegrityError, StorageError
from mlpipe.manifest import ALTERED_HINT, MANIFEST, SUCCESS, below, check_content, digest, parse_manifest
from mlpipe.specs import Channel, FileRecord
from mlpipe.storage.base import Storage


@dataclass(frozen=True)
class Unit:
    """A committed folder: its key, and what its manifest vouches for."""

    storage: Storage
    key: str
    files: Mapping[str, FileRecord]
    sha256: str
    """sha256 of the manifest: one number for the whole content."""

    def read(self, name: str) -> bytes:
        """The content of one file; IntegrityError where it is missing or has changed."""
        source = self.storage.locate(f"{self.key}/{name}")
        if name not in self.files:
            raise IntegrityError(f"{source} is in no manifest")
        if not self.storage.exists(f"{self.key}/{name}"):
            raise IntegrityError(f"{source} is missing", hint=ALTERED_HINT)
        content = self.storage.read(f"{self.key}/{name}")
        check_content(content, self.files[name], source)
        return content

    def read_json(self, name: str) -> dict[str, Any]:
        """A JSON object in one file, as `read` checks it."""
        document: dict[str, Any] = json.loads(self.read(name))
        return document

    def read_json_lines(self, name: str) -> tuple[dict[str, Any], ...]:
        """A JSON object per line of one file, as `read` checks it."""
        return tuple(json.loads(line) for line in self.read(name).splitlines())

    def channel(self, name: str, folder: str = "") -> Channel:
        """This unit, or a folder of it, as an input of a job, which checks it against the manifest."""
        if not folder:
            return Channel(name, self.key, self.files)
        return Channel(name, f"{self.key}/{folder}", below(self.files, folder))


def is_committed(storage: Storage, key: str) -> bool:
    """True when a unit is complete at `key`."""
    return storage.exists(f"{key}/{SUCCESS}")


def open_unit(storage: Storage, key: str) -> Unit:
    """The committed unit at `key`.

    Raises StorageError where none was committed, IntegrityError where its manifest was altered.
    """
    where = storage.locate(key)
    if not is_committed(storage, key):
        raise StorageError(f"{where} is not complete: it has no {SUCCESS}", hint="run the command that makes it again")
    if not storage.exists(f"{key}/{MANIFEST}"):
        raise IntegrityError(f"{where}/{MANIFEST} is missing", hint=ALTERED_HINT)
    content = storage.read(f"{key}/{MANIFEST}")
    if storage.read(f"{key}/{SUCCESS}").strip() != digest(content).encode():
        raise IntegrityError(
            f"{where}/{MANIFEST} has changed since it was committed, or its {SUCCESS} has",
            hint=ALTERED_HINT,
        )
    return Unit(storage, key, parse_manifest(content, f"{where}/{MANIFEST}"), digest(content))


def commit(storage: Storage, source: str, destination: str) -> Unit:
    """Publish the folder at `source`, whose manifest its job wrote, as the unit `destination`.

    Where that unit is committed already, it stays and `source` is dropped: equal work was finished by somebody else.
    Raises IntegrityError where the folder is not what its manifest says.
    """
    manifest = storage.read(f"{source}/{MANIFEST}")
    expected = {name: record.size for name, record in parse_manifest(manifest, f"{source}/{MANIFEST}").items()}
    found = {name: size for name, size in storage.files(source).items() if name not in (MANIFEST, SUCCESS)}
    if expected != found:
        wrong = sorted(set(expected.items()) ^ set(found.items()))[0][0]
        raise IntegrityError(f"{storage.locate(source)}/{wrong} is not what the job's manifest says")
    storage.write(f"{source}/{SUCCESS}", f"{digest(manifest)}\n".encode())
    if not storage.publish(source, destination):
        storage.delete(source)
    return open_unit(storage, destination)
