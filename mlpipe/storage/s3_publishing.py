"""Publishing a folder on S3, where nothing can be renamed: copied file by file, complete once `_SUCCESS` is there.

Whoever publishes first writes an intent to the destination, by a conditional write that one of any number of racers
wins: which folder is to be copied, and every file of it. All racers, and whoever comes after a crash, then carry out
the intent that stands there. They copy the same bytes from the same place, so it does not matter how many do so or
where one of them died; `_SUCCESS` comes last, and only then are the intent and the copied folder removed.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass

from mlpipe.errors import IntegrityError, StorageError
from mlpipe.manifest import SUCCESS, to_bytes
from mlpipe.storage.s3_bucket import Bucket

INTENT = ".publishing.json"
"""The file at a destination that says what is being published there; no listing of the storage shows it."""


@dataclass(frozen=True)
class Intent:
    """The prefix of the folder to be copied, and the sizes of its files by their names."""

    source: str
    files: dict[str, int]


def publish(bucket: Bucket, source: str, destination: str) -> bool:
    """Copy what has the prefix `source` to `destination` and remove it there; see `Storage.publish`.

    Both end in a slash.
    """
    own = Intent(source, {name: listed.size for name, listed in bucket.below(source).items()})
    if not own.files:
        raise StorageError(f"cannot publish {bucket.locate(source)}: nothing stands there")
    while not bucket.exists(destination + SUCCESS):
        bucket.create(destination + INTENT, to_bytes(asdict(own)))
        found = bucket.find(destination + INTENT)
        if found is None:
            continue
        intent = _parsed(found[0], bucket.locate(destination + INTENT))
        # Another publication may have ended, and removed its intent, just before this one wrote its own.
        if bucket.exists(destination + SUCCESS):
            bucket.delete([destination + INTENT])
            break
        if _carry_out(bucket, intent, destination):
            if intent.source == source:
                bucket.delete(source + name for name in own.files)
                return True
        elif intent.source == source:
            raise StorageError(f"cannot publish {bucket.locate(source)}: a file of it was removed meanwhile")
        elif not bucket.exists(destination + SUCCESS):
            # Nobody can carry that intent out: its folder is gone, and not because it was published.
            bucket.replace(destination + INTENT, to_bytes(asdict(own)), found[1])
    return False


def _carry_out(bucket: Bucket, intent: Intent, destination: str) -> bool:
    """Make the destination what the intent says; False where a file of the source is gone."""
    left_over = set(bucket.below(destination)) - set(intent.files) - {INTENT}
    bucket.delete(destination + name for name in sorted(left_over))
    content = {name: size for name, size in intent.files.items() if name != SUCCESS}
    last = {name: size for name, size in intent.files.items() if name == SUCCESS}
    if not all(bucket.copy(intent.source, destination, files) for files in (content, last)):
        return False
    bucket.delete([destination + INTENT])
    return True


def _parsed(content: bytes, place: str) -> Intent:
    try:
        document = json.loads(content)
        return Intent(str(document["source"]), {str(name): int(size) for name, size in document["files"].items()})
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise IntegrityError(f"{place} is not what mlpipe wrote: {error}", hint="delete that file") from error
