"""Keys: how a file is addressed in any storage."""

from __future__ import annotations

from mlpipe.errors import StorageError


def parts_of(key: str, place: str) -> list[str]:
    """The parts of a key; StorageError where it is no relative path that stays inside the storage at `place`."""
    parts = key.split("/")
    if any(part in ("", ".", "..") for part in parts):
        raise StorageError(f"{key!r} is not a path inside {place}")
    return parts
