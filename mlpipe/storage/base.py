"""The storage Protocol: what mlpipe needs of a place that holds a tree, and nothing that only one kind of place has."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol


class Storage(Protocol):
    """Files addressed by keys: relative paths with forward slashes.

    Every method raises StorageError, naming the place and what can be done, where the place refuses.
    """

    @property
    def uri(self) -> str:
        """The place as the user writes it."""
        ...

    def locate(self, key: str) -> str:
        """A key as a path or URI that the user can open."""
        ...

    def exists(self, key: str) -> bool:
        """True when a file stands at `key`."""
        ...

    def read(self, key: str) -> bytes:
        """The content of one file; StorageError where there is none."""
        ...

    def write(self, key: str, data: bytes) -> None:
        """Write or replace one file; a reader sees the old content or the new, never a part."""
        ...

    def create(self, key: str, data: bytes) -> bool:
        """Write one file unless it exists: of any number of racers with different contents exactly one gets True."""
        ...

    def replace(self, key: str, data: bytes, expected: bytes | None) -> bool:
        """Write one file if it still holds what `expected` says (None: there is no such file).

        False, and nothing written, where somebody else was quicker; racers bring different contents.
        """
        ...

    def files(self, key: str) -> dict[str, int]:
        """Every file below a folder, by its path relative to it, with its size in bytes; empty where there is none."""
        ...

    def folders(self, key: str) -> list[str]:
        """The names of the folders directly below a folder, sorted; empty where there is none."""
        ...

    def workspace(self, key: str) -> Path:
        """A local folder to work in for what will be stored at `key`: made if absent. Use `fetch` to read."""
        ...

    def store(self, path: Path, key: str) -> None:
        """Put a file or a folder, in a workspace or elsewhere, in its place in the storage."""
        ...

    def fetch(self, key: str, folder: Path) -> None:
        """Make the files below `key` readable at the local path `folder`, which must not exist yet."""
        ...

    def publish(self, source: str, destination: str) -> bool:
        """Move a folder to where readers look for it; False, and nothing moved, where a committed one stands there.

        What a crash left there, without `_SUCCESS`, is replaced. Readers never see `_SUCCESS` before everything else.
        """
        ...

    def delete(self, key: str) -> None:
        """Remove a file or a folder with everything below it; nothing happens where there is none."""
        ...
