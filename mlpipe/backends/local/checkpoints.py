"""Checkpoints of a running job on their way into the storage, as a platform carries them away while a job runs."""

from __future__ import annotations

import contextlib
from pathlib import Path

from mlpipe.errors import StorageError
from mlpipe.storage import Storage


class CheckpointMirror:
    """Keeps what is below `key` equal to the checkpoints that a job has below `folder`.

    A checkpoint is a folder that is renamed into place when it is complete; folders whose names begin with a dot are
    still being written. Where the job works in the storage itself, there is nothing to do.
    """

    def __init__(self, storage: Storage, folder: Path, key: str) -> None:
        self._storage = storage
        self._folder = folder
        self._key = key
        self._stored = self._found()

    def try_update(self) -> None:
        """Update while the job runs: a storage that does not answer now is asked again at the next look."""
        with contextlib.suppress(StorageError):
            self.update()

    def update(self) -> None:
        """Store what is new and delete what the job has deleted; a folder that was made anew counts as new."""
        found = self._found()
        if found == self._stored:
            return
        for name in sorted(found):
            if found[name] != self._stored.get(name):
                self._store(name)
        for name in self._stored.keys() - found.keys():
            self._storage.delete(f"{self._key}/{name}")
        self._stored = found

    def _store(self, name: str) -> None:
        try:
            self._storage.store(self._folder / name, f"{self._key}/{name}")
        except StorageError:
            if (self._folder / name).exists():  # else the job has removed it meanwhile, for a newer one
                raise

    def _found(self) -> dict[str, tuple[int, int]]:
        """The complete checkpoints, each with what tells it from another folder of its name: inode and time."""
        found = {}
        for path in self._folder.iterdir() if self._folder.is_dir() else ():
            try:
                if path.is_dir() and not path.name.startswith("."):
                    found[path.name] = (path.stat().st_ino, path.stat().st_mtime_ns)
            except FileNotFoundError:
                continue
        return found
