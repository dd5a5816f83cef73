"""Storage in a local folder.

Files are written aside, flushed to disk and renamed or linked into place, so that a crash at any moment leaves the old
content or the new. `link` decides races: it fails for all but one of any number of callers.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path

from mlpipe.errors import StorageError
from mlpipe.manifest import SUCCESS, flush_to_disk
from mlpipe.storage.keys import parts_of

ASIDE = ".aside-"
"""How the names of files begin that are still being written; no listing shows them."""


class LocalStorage:
    """The tree below one local folder, which is made when the first file is written."""

    def __init__(self, root: Path) -> None:
        self.root = root.absolute()

    @property
    def uri(self) -> str:
        """The folder's absolute path."""
        return str(self.root)

    def locate(self, key: str) -> str:
        """The absolute path of a key."""
        return str(self._path(key))

    def exists(self, key: str) -> bool:
        """True when a file stands at `key`."""
        return self._path(key).is_file()

    def read(self, key: str) -> bytes:
        """The content of one file."""
        with _reported("read", self._path(key)):
            return self._path(key).read_bytes()

    def write(self, key: str, data: bytes) -> None:
        """Write one file aside, flush it, and rename it into place."""
        path = self._path(key)
        with _reported("write", path), self._written_aside(path, data) as aside:
            aside.replace(path)
            flush_to_disk(path.parent)

    def create(self, key: str, data: bytes) -> bool:
        """Write one file aside, flush it, and link it into place; the link fails where the file exists."""
        path = self._path(key)
        with _reported("create", path), self._written_aside(path, data) as aside:
            try:
                path.hardlink_to(aside)
            except FileExistsError:
                return False
            flush_to_disk(path.parent)
            return True

    def replace(self, key: str, data: bytes, expected: bytes | None) -> bool:
        """Compare and write while the file's folder is locked."""
        path = self._path(key)
        with _reported("write", path):
            path.parent.mkdir(parents=True, exist_ok=True)
            with _locked(path.parent):
                present = path.read_bytes() if path.is_file() else None
                if present == expected:
                    self.write(key, data)
                return present == expected

    def files(self, key: str) -> dict[str, int]:
        """Every file below a folder with its size; links to folders are not followed."""
        folder = self._path(key)
        with _reported("list", folder):
            found = {
                (Path(parent) / name).relative_to(folder).as_posix(): (Path(parent) / name).stat().st_size
                for parent, _, names in os.walk(folder)
                for name in names
                if not name.startswith(ASIDE)
            }
        return dict(sorted(found.items()))

    def folders(self, key: str) -> list[str]:
        """The names of the folders directly below a folder."""
        folder = self._path(key)
        if not folder.is_dir():
            return []
        with _reported("list", folder):
            return sorted(entry.name for entry in folder.iterdir() if entry.is_dir())

    def workspace(self, key: str) -> Path:
        """The folder itself: what is written there is in its place already."""
        path = self._path(key)
        with _reported("make", path):
            path.mkdir(parents=True, exist_ok=True)
        return path

    def store(self, path: Path, key: str) -> None:
        """Copy a file or a folder to its place, unless it stands there already, as what is in a workspace does."""
        place = self._path(key)
        with _reported("write", place):
            if place.exists() and path.samefile(place):
                return
            if path.is_file():
                place.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(path, place)
            else:
                shutil.copytree(path, place, dirs_exist_ok=True)

    def fetch(self, key: str, folder: Path) -> None:
        """Link `folder` to the files: nothing is copied."""
        with _reported("read", self._path(key)):
            folder.parent.mkdir(parents=True, exist_ok=True)
            folder.symlink_to(self._path(key), target_is_directory=True)

    def publish(self, source: str, destination: str) -> bool:
        """Flush every file and rename the folder: all of it appears at once, for one of any number of racers."""
        old, new = self._path(source), self._path(destination)
        with _reported("publish", new):
            for path in [*old.rglob("*"), old]:
                flush_to_disk(path)
            new.parent.mkdir(parents=True, exist_ok=True)
            while not _renamed(old, new):
                if (new / SUCCESS).is_file():
                    return False
                self.delete(destination)  # no unit: those appear together with their _SUCCESS
            flush_to_disk(new.parent)
            return True

    def delete(self, key: str) -> None:
        """Remove a file or a folder with everything below it."""
        path = self._path(key)
        with _reported("delete", path), contextlib.suppress(FileNotFoundError):
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink()

    def _path(self, key: str) -> Path:
        return self.root.joinpath(*parts_of(key, self.uri))

    @contextlib.contextmanager
    def _written_aside(self, path: Path, data: bytes) -> Iterator[Path]:
        """A flushed file beside `path` with the content; gone at the end unless it was renamed."""
        path.parent.mkdir(parents=True, exist_ok=True)
        aside = path.with_name(f"{ASIDE}{uuid.uuid4().hex}")
        try:
            with aside.open("wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            yield aside
        finally:
            aside.unlink(missing_ok=True)


def _renamed(old: Path, new: Path) -> bool:
    """Rename a folder; False where a folder with something in it has that name."""
    try:
        old.rename(new)
    except OSError as error:
        if error.errno in (errno.ENOTEMPTY, errno.EEXIST):
            return False
        raise
    return True


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Within it, no other caller is within it; the system takes the lock back from a process that dies."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def _reported(action: str, path: Path) -> Iterator[None]:
    """Turn the operating system's errors into a StorageError that names the path and says what to do."""
    try:
        yield
    except OSError as error:
        hints = {
            errno.ENOSPC: "the disk is full: free space there, then run the same command again",
            errno.EACCES: "give this user the right to write there, or choose another [EXPERIMENT] STORAGE",
            errno.EPERM: "the file system may have no hard links, which claims need: choose another STORAGE",
            errno.ENOTSUP: "the file system has no hard links, which claims need: choose another STORAGE",
            errno.EROFS: "the file system is read-only: choose another [EXPERIMENT] STORAGE",
        }
        reason = os.strerror(error.errno) if error.errno else str(error)
        raise StorageError(
            f"cannot {action} {path}: {reason}", hint=hints.get(error.errno or 0, "check [EXPERIMENT] STORAGE")
        ) from error
