"""Folders of a machine and prefixes of S3: how the platform copies from one to the other."""

from __future__ import annotations

import os
import tarfile
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from botocore.exceptions import ClientError


class DataError(Exception):
    """An input that is not there; the text is what becomes of it in a job's FailureReason."""


def split_uri(uri: str) -> tuple[str, str]:
    """Bucket and key of an s3:// address."""
    bucket, _, key = uri.removeprefix("s3://").partition("/")
    return bucket, key


def joined(uri: str, *names: str) -> str:
    """The address of something below another."""
    return "/".join([uri.rstrip("/"), *names])


@dataclass(frozen=True)
class Objects:
    """S3, as the platform uses it; `client` is boto3's."""

    client: Any

    def download(self, uri: str, folder: Path, shard: tuple[int, int] = (0, 1)) -> None:
        """Copy everything whose key begins with the prefix, as the service does: `run1` also brings `run10`.

        `shard` is (index, count): one machine's part of the keys. Raises DataError where no key begins so.
        """
        found = list(self._below(uri))
        if not found:
            raise DataError(f"ClientError: Data download failed:No S3 objects found under S3 URL {uri!r}")
        bucket, prefix = split_uri(uri)
        for key in found[shard[0] :: shard[1]]:
            path = folder / _relative(key, prefix)
            path.parent.mkdir(parents=True, exist_ok=True)
            self.client.download_file(bucket, key, str(path))

    def upload(self, folder: Path, uri: str) -> None:
        """Copy the files below a folder; links are left out."""
        for path in files_below(folder):
            self.put(path, joined(uri, path.relative_to(folder).as_posix()))

    def upload_archive(self, folders: Sequence[Path], uri: str) -> None:
        """Copy folders as one tar.gz of what is in them."""
        with tempfile.NamedTemporaryFile(suffix=".tar.gz") as file:
            with tarfile.open(file.name, "w:gz") as archive:
                for folder in folders:
                    archive.add(folder, arcname=".")
            self.put(Path(file.name), uri)

    def put(self, path: Path, uri: str) -> None:
        """Copy one file."""
        bucket, key = split_uri(uri)
        self.client.upload_file(str(path), bucket, key)

    def put_bytes(self, content: bytes, uri: str) -> None:
        """Store one object."""
        bucket, key = split_uri(uri)
        self.client.put_object(Bucket=bucket, Key=key, Body=content)

    def delete(self, uri: str) -> None:
        """Delete one object."""
        bucket, key = split_uri(uri)
        self.client.delete_object(Bucket=bucket, Key=key)

    def _below(self, uri: str) -> Iterator[str]:
        bucket, prefix = split_uri(uri)
        try:
            for page in self.client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix):
                yield from (entry["Key"] for entry in page.get("Contents", []) if not entry["Key"].endswith("/"))
        except ClientError as error:
            raise DataError(f"ClientError: Data download failed:{error.response['Error']['Message']}: {uri}") from error


def _relative(key: str, prefix: str) -> str:
    """Where a key lies below the folder of its prefix; what only begins like the prefix keeps its own name."""
    folder = prefix if not prefix or prefix.endswith("/") else f"{prefix}/"
    return key.removeprefix(folder) if key.startswith(folder) else key[prefix.rfind("/") + 1 :]


def files_below(folder: Path) -> list[Path]:
    """The regular files below a folder, in order; whoever writes there may go on doing so."""
    paths = [Path(parent, name) for parent, _, names in os.walk(folder) for name in names]
    return sorted(path for path in paths if path.is_file() and not path.is_symlink())


@dataclass
class CheckpointSync:
    """A folder and the prefix that follows it while a container runs: what is deleted here is deleted there."""

    objects: Objects
    folder: Path
    uri: str
    _seen: dict[Path, tuple[int, int]] = field(default_factory=dict)

    def restore(self) -> None:
        """Bring what is below the prefix, if anything is."""
        self.folder.mkdir(parents=True, exist_ok=True)
        try:
            self.objects.download(joined(self.uri, ""), self.folder)
        except DataError:
            return  # a first attempt
        self._seen = self._current()

    def push(self) -> None:
        """Upload what has changed since the last time, and delete what has gone."""
        current = self._current()
        for path in [path for path, state in current.items() if self._seen.get(path) != state]:
            try:
                self.objects.put_bytes(path.read_bytes(), self._address(path))
            except FileNotFoundError:
                del current[path]  # deleted since
        for path in self._seen.keys() - current.keys():
            self.objects.delete(self._address(path))
        self._seen = current

    def _address(self, path: Path) -> str:
        return joined(self.uri, path.relative_to(self.folder).as_posix())

    def _current(self) -> dict[Path, tuple[int, int]]:
        stats = {}
        for path in files_below(self.folder):
            try:
                stat = path.stat()
            except FileNotFoundError:
                continue  # deleted a moment ago
            stats[path] = (stat.st_mtime_ns, stat.st_size)
        return stats
