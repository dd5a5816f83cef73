"""One bucket: the requests that a storage is made of, on full keys, with retries, encryption and the owner's check.

Requests are repeated by botocore (retry mode "standard", 8 attempts); what botocore does not repeat, a conflict of
conditional writes and a body that breaks off, is repeated here.
"""

from __future__ import annotations

import contextlib
import random
import time
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import boto3
from boto3.s3.transfer import TransferConfig, create_transfer_manager
from botocore.config import Config
from botocore.exceptions import (
    ClientError,
    FlexibleChecksumError,
    IncompleteReadError,
    ReadTimeoutError,
    ResponseStreamingError,
)
from s3transfer.subscribers import BaseSubscriber

from mlpipe.errors import StorageError
from mlpipe.settings import S3
from mlpipe.storage.s3_errors import ABSENT, CONFLICT, PRECONDITION, code_of, is_absent, reported

ATTEMPTS = 8
CONCURRENCY = 16
MEBIBYTE = 1024**2
LARGE = 512 * MEBIBYTE
"""From this size on, a copy on the server goes in parts: one request would outlast its time limit."""

DELETED_AT_ONCE = 1_000
"""The most keys that one DeleteObjects request takes."""

_TRANSFER = TransferConfig(
    multipart_threshold=16 * MEBIBYTE,
    multipart_chunksize=16 * MEBIBYTE,
    max_concurrency=CONCURRENCY,
    num_download_attempts=ATTEMPTS,
    preferred_transfer_client="classic",
)
_BROKEN_OFF = (IncompleteReadError, ReadTimeoutError, ResponseStreamingError, FlexibleChecksumError)


@dataclass(frozen=True)
class Listed:
    """An object as a listing shows it: its size in bytes, and the tag that changes with its content."""

    size: int
    etag: str


class Bucket:
    """A bucket; every method raises StorageError with the action, the key, and what can be done."""

    def __init__(self, name: str, options: S3) -> None:
        self.name = name
        self._owner = {"ExpectedBucketOwner": options.expected_bucket_owner} if options.expected_bucket_owner else {}
        self._written = dict(self._owner)
        if options.kms_key_id:
            self._written |= {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": options.kms_key_id}
        config = Config(
            retries={"mode": "standard", "total_max_attempts": ATTEMPTS},
            max_pool_connections=2 * CONCURRENCY,
            connect_timeout=10,
        )
        with self._reported("open", ""):
            self._client: Any = boto3.session.Session().client("s3", region_name=options.region, config=config)

    def locate(self, key: str) -> str:
        """A key as a URI."""
        return f"s3://{self.name}/{key}"

    def exists(self, key: str) -> bool:
        """True where an object has this key."""
        with self._reported("look for", key):
            try:
                self._client.head_object(Bucket=self.name, Key=key, **self._owner)
            except ClientError as error:
                if code_of(error) in ABSENT:
                    return False
                raise
            return True

    def get(self, key: str) -> tuple[bytes, str]:
        """The content and the tag of an object."""
        with self._reported("read", key):
            for attempt in range(1, ATTEMPTS + 1):
                answer = self._client.get_object(Bucket=self.name, Key=key, **self._owner)
                try:
                    return answer["Body"].read(), answer["ETag"]
                except _BROKEN_OFF:
                    if attempt == ATTEMPTS:
                        raise
        raise AssertionError("every attempt returns or raises")

    def find(self, key: str) -> tuple[bytes, str] | None:
        """The content and the tag of an object; None where there is none."""
        try:
            return self.get(key)
        except StorageError as error:
            if is_absent(error):
                return None
            raise

    def put(self, key: str, data: bytes) -> None:
        """Write or replace an object."""
        with self._reported("write", key):
            self._client.put_object(Bucket=self.name, Key=key, Body=data, **self._written)

    def create(self, key: str, data: bytes) -> bool:
        """Write an object unless the key is taken; True where it then holds `data`.

        When the reply to a write is lost, botocore repeats it and meets its own object: the content tells whose it is.
        """
        with self._reported("create", key):
            if self._put_if(key, data, IfNoneMatch="*"):
                return True
        return self._holds(key, data)

    def replace(self, key: str, data: bytes, etag: str) -> bool:
        """Write an object that still has this tag; True where it then holds `data`, as in `create`."""
        with self._reported("write", key):
            if self._put_if(key, data, IfMatch=etag):
                return True
        return self._holds(key, data)

    def below(self, prefix: str) -> dict[str, Listed]:
        """Every object whose key begins with `prefix`, by its key without it; the markers of folders left out."""
        pages = self._pages(prefix)
        found = {entry["Key"][len(prefix) :]: entry for page in pages for entry in page.get("Contents", ())}
        return {
            name: Listed(entry["Size"], entry["ETag"])
            for name, entry in sorted(found.items())
            if name and not name.endswith("/")
        }

    def folders(self, prefix: str) -> list[str]:
        """What stands between `prefix` and the next slash of a key, sorted."""
        pages = self._pages(prefix, Delimiter="/")
        return sorted(entry["Prefix"][len(prefix) : -1] for page in pages for entry in page.get("CommonPrefixes", ()))

    def delete(self, keys: Iterable[str]) -> None:
        """Remove objects; nothing happens for those that are not there."""
        todo = list(keys)
        for start in range(0, len(todo), DELETED_AT_ONCE):
            batch = todo[start : start + DELETED_AT_ONCE]
            with self._reported("delete", batch[0]):
                objects = {"Objects": [{"Key": key} for key in batch], "Quiet": True}
                answer = self._client.delete_objects(Bucket=self.name, Delete=objects, **self._owner)
            for refused in answer.get("Errors", ()):
                with self._reported("delete", refused["Key"]):
                    raise ClientError({"Error": refused}, "DeleteObjects")

    def copy(self, source: str, destination: str, sizes: Mapping[str, int]) -> bool:
        """Copy objects from one prefix to another on the server, in parallel; False where one was no longer there.

        `sizes` has them by their keys without the prefix.
        """

        def copy(name: str) -> None:
            with self._reported("publish", destination + name):
                self._copy(source + name, destination + name, sizes[name])

        pool = ThreadPoolExecutor(CONCURRENCY)
        try:
            for _ in pool.map(copy, sizes):
                pass
        except StorageError as error:
            if is_absent(error):
                return False
            raise
        finally:
            pool.shutdown(cancel_futures=True)
        return True

    def upload(self, files: Mapping[str, Path]) -> None:
        """Write local files to their keys, in parallel; large ones in parts."""
        with create_transfer_manager(self._client, _TRANSFER) as manager:
            futures = {
                key: manager.upload(str(path), self.name, key, extra_args=self._written) for key, path in files.items()
            }
            self._wait("write", futures)

    def download(self, prefix: str, objects: Mapping[str, Listed], folder: Path) -> None:
        """Read listed objects into files below a folder, in parallel; large ones in parts."""
        with reported("write", str(folder)):
            for parent in {(folder / name).parent for name in objects}:
                parent.mkdir(parents=True, exist_ok=True)
        with create_transfer_manager(self._client, _TRANSFER) as manager:
            futures = {
                prefix + name: manager.download(
                    self.name, prefix + name, str(folder / name), self._owner, [_Known(listed)]
                )
                for name, listed in objects.items()
            }
            self._wait("read", futures)

    def abort_uploads(self, prefix: str, older_than: timedelta) -> list[str]:
        """Abort the multipart uploads below a prefix that were begun so long ago; returns their keys.

        A process that is killed leaves its upload behind: nobody sees it, and it costs as much as an object.
        """
        limit, aborted = datetime.now(UTC) - older_than, []
        with self._reported("abort uploads below", prefix):
            pages = self._client.get_paginator("list_multipart_uploads").paginate(
                Bucket=self.name, Prefix=prefix, **self._owner
            )
            for upload in [upload for page in pages for upload in page.get("Uploads", ())]:
                if upload["Initiated"] <= limit:
                    ids = {"Key": upload["Key"], "UploadId": upload["UploadId"]}
                    with contextlib.suppress(self._client.exceptions.NoSuchUpload):  # somebody else was quicker
                        self._client.abort_multipart_upload(Bucket=self.name, **ids, **self._owner)
                    aborted.append(upload["Key"])
        return aborted

    def _holds(self, key: str, data: bytes) -> bool:
        found = self.find(key)
        return found is not None and found[0] == data

    def _put_if(self, key: str, data: bytes, **condition: str) -> bool:
        """Write under a condition; False where it does not hold. A conflict says nothing yet: S3 wants it repeated."""
        for attempt in range(1, ATTEMPTS + 1):
            try:
                self._client.put_object(Bucket=self.name, Key=key, Body=data, **condition, **self._written)
            except ClientError as error:
                if code_of(error) in PRECONDITION or (code_of(error) in ABSENT and "IfMatch" in condition):
                    return False
                if code_of(error) not in CONFLICT or attempt == ATTEMPTS:
                    raise
                time.sleep(random.uniform(0, 0.05 * 2**attempt))
            else:
                return True
        raise AssertionError("every attempt returns or raises")

    def _copy(self, source: str, destination: str, size: int) -> None:
        origin = {"Bucket": self.name, "Key": source}
        if size >= LARGE:
            self._client.copy(origin, self.name, destination, ExtraArgs=self._written, Config=_TRANSFER)
            return
        owner = {f"ExpectedSource{name.removeprefix('Expected')}": value for name, value in self._owner.items()}
        self._client.copy_object(CopySource=origin, Bucket=self.name, Key=destination, **self._written, **owner)

    def _pages(self, prefix: str, **arguments: str) -> Iterator[dict[str, Any]]:
        with self._reported("list", prefix):
            paginator = self._client.get_paginator("list_objects_v2")
            yield from paginator.paginate(Bucket=self.name, Prefix=prefix, **arguments, **self._owner)

    def _wait(self, action: str, futures: Mapping[str, Any]) -> None:
        for key, future in futures.items():
            with self._reported(action, key):
                future.result()

    def _reported(self, action: str, key: str) -> Any:
        return reported(action, self.locate(key))


class _Known(BaseSubscriber):  # type: ignore[misc]  # s3transfer has no types
    """Tells a download what the listing said, which saves the request that asks for it."""

    def __init__(self, listed: Listed) -> None:
        self._listed = listed

    def on_queued(self, future: Any, **_kwargs: Any) -> None:
        future.meta.provide_transfer_size(self._listed.size)
        future.meta.provide_object_etag(self._listed.etag)
