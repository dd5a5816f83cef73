"""Storage in an S3 bucket, or in a store that speaks S3 and has conditional writes (AWS_ENDPOINT_URL names it).

A claim is a conditional write (If-None-Match), which one of any number of racers wins. A folder is published by copies
on the server (`s3_publishing`). Jobs work in local folders, which are uploaded and downloaded in parallel.
"""

from __future__ import annotations

import shutil
import tempfile
import threading
import uuid
import weakref
from datetime import timedelta
from pathlib import Path, PurePosixPath

from mlpipe.errors import StorageError
from mlpipe.manifest import SUCCESS
from mlpipe.settings import S3
from mlpipe.storage.keys import parts_of
from mlpipe.storage.s3_bucket import Bucket, Listed
from mlpipe.storage.s3_errors import reported
from mlpipe.storage.s3_publishing import INTENT, publish

ORPHANED_AFTER = timedelta(days=2)
"""An upload that was begun so long ago belongs to no process that is still at work."""


class S3Storage:
    """The tree below `s3://bucket/prefix`.

    Workspaces lie below one local folder, in the system's place for temporary files (TMPDIR); it goes with this object.
    """

    def __init__(self, uri: str, options: S3 | None = None) -> None:
        name, _, prefix = uri.removeprefix("s3://").partition("/")
        self._bucket = Bucket(name, options or S3())
        self._prefix = f"{prefix}/" if prefix else ""
        self._lock = threading.Lock()
        self._is_probed = False
        self._scratch: Path | None = None

    @property
    def uri(self) -> str:
        """`s3://bucket/prefix`."""
        return self._bucket.locate(self._prefix).rstrip("/")

    def locate(self, key: str) -> str:
        """The URI of a key."""
        return self._bucket.locate(self._key(key))

    def exists(self, key: str) -> bool:
        """True when an object has this key."""
        return self._bucket.exists(self._key(key))

    def read(self, key: str) -> bytes:
        """The content of one object."""
        return self._bucket.get(self._key(key))[0]

    def write(self, key: str, data: bytes) -> None:
        """Put one object."""
        self._bucket.put(self._key(key), data)

    def create(self, key: str, data: bytes) -> bool:
        """Put one object unless its key is taken; a store that would overwrite it is refused before the first."""
        full = self._key(key)
        self._require_conditional_writes()
        return self._bucket.create(full, data)

    def replace(self, key: str, data: bytes, expected: bytes | None) -> bool:
        """Put one object unless it has changed since it was read."""
        if expected is None:
            return self.create(key, data)
        full = self._key(key)
        self._require_conditional_writes()
        found = self._bucket.find(full)
        return found is not None and found[0] == expected and self._bucket.replace(full, data, found[1])

    def files(self, key: str) -> dict[str, int]:
        """Every object below a folder with its size."""
        return {name: listed.size for name, listed in self._below(key).items()}

    def folders(self, key: str) -> list[str]:
        """The names of the folders directly below a folder."""
        return self._bucket.folders(f"{self._key(key)}/")

    def workspace(self, key: str) -> Path:
        """A local folder of this key, made if absent; what is in the bucket is not in it."""
        self._key(key)
        with self._lock:
            if self._scratch is None:
                self._scratch = Path(tempfile.mkdtemp(prefix="mlpipe-"))
                weakref.finalize(self, shutil.rmtree, self._scratch, ignore_errors=True)
        path = self._scratch / key
        with reported("make", str(path)):
            path.mkdir(parents=True, exist_ok=True)
        return path

    def store(self, path: Path, key: str) -> None:
        """Upload a file or a folder."""
        full = self._key(key)
        if path.is_file():
            self._bucket.upload({full: path})
            return
        files = sorted(each for each in path.rglob("*") if each.is_file())
        self._bucket.upload({f"{full}/{each.relative_to(path).as_posix()}": each for each in files})

    def fetch(self, key: str, folder: Path) -> None:
        """Download everything below a key."""
        found = self._below(key)
        with reported("make", str(folder)):
            folder.mkdir(parents=True)
        self._bucket.download(f"{self._key(key)}/", found, folder)

    def publish(self, source: str, destination: str) -> bool:
        """Copy on the server, `_SUCCESS` last; for one of any number of racers."""
        return publish(self._bucket, f"{self._key(source)}/", f"{self._key(destination)}/")

    def delete(self, key: str) -> None:
        """Remove an object, or all below a folder, and the workspace of the key; a unit stops being one first."""
        full = self._key(key)
        below = [f"{full}/{name}" for name in self._bucket.below(f"{full}/")]
        marks = [name for name in below if PurePosixPath(name).name == SUCCESS]
        self._bucket.delete(marks)
        self._bucket.delete([full, *(name for name in below if name not in set(marks))])
        if self._scratch is not None:
            shutil.rmtree(self._scratch / key, ignore_errors=True)

    def abort_orphans(self, older_than: timedelta = ORPHANED_AFTER) -> list[str]:
        """Abort uploads that a killed process left behind; returns their URIs. The first claim does this, too."""
        return [self._bucket.locate(key) for key in self._bucket.abort_uploads(self._prefix, older_than)]

    def _key(self, key: str) -> str:
        return self._prefix + "/".join(parts_of(key, self.uri))

    def _below(self, key: str) -> dict[str, Listed]:
        """What is below a folder; a key that could not be a path inside it is refused."""
        found = self._bucket.below(f"{self._key(key)}/")
        for name in found:
            parts_of(name, self.locate(key))
        return {name: listed for name, listed in found.items() if PurePosixPath(name).name != INTENT}

    def _require_conditional_writes(self) -> None:
        """Try them out, before the first one; and do away with what other processes have left behind."""
        with self._lock:
            if not self._is_probed:
                self._probe()
                self.abort_orphans()
                self._is_probed = True

    def _probe(self) -> None:
        """Raise StorageError where the store overwrites an object in spite of a condition."""
        key = f"{self._prefix}.probe-{uuid.uuid4().hex}"
        first, second = self._bucket.create(key, b"first"), self._bucket.create(key, b"second")
        third = self._bucket.replace(key, b"third", '"0"')
        self._bucket.delete([key])
        if not first or second or third:
            ignored = "If-None-Match" if second else "If-Match"
            raise StorageError(
                f"cannot create claims in {self.uri}: the store overwrites an object in spite of {ignored}, so "
                "that two processes could get the same run",
                hint="choose another [EXPERIMENT] STORAGE: Amazon S3, or a store that has conditional writes",
            )
