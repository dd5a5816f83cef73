"""Tasks that leave something outside of the Pipeline: in a bucket, or in a folder that stands for one."""

from __future__ import annotations

import functools
import os
import threading
from collections.abc import Callable
from typing import Any

from mlpipe.errors import PlanError, StorageError, TaskError
from mlpipe.workflow.cancellation import cancelled, current_token
from mlpipe.workflow.pipeline import Key, Pipeline
from mlpipe.workflow.task import Task

RESULTS: Key[str] = Key("results")
"""Where the S3Tasks of a plan write: `s3://bucket/prefix` or a local folder.

Made of what the Pipeline is about, such as the name of a document, and of nothing else: a message that is worked on
twice then writes the same objects twice, and nobody sees a difference.
"""


class S3Task(Task):
    """A Task that also writes objects, by `write_to_s3`; one that ends without having called it has not done its work.

    What is inherited here writes below `pipeline[RESULTS]`, which whoever makes the Pipeline puts there.
    """

    context_keys = (RESULTS,)

    def write_to_s3(self, pipeline: Pipeline, filename: str, data: bytes) -> None:
        """Write `data` as `<pipeline[RESULTS]>/<filename>`.

        Raises TaskError where nobody waits for this Task any more (it may be somebody else's work by now), PlanError
        for a name that leads elsewhere, and StorageError where the place refuses.
        """
        token = getattr(pipeline, _TOKEN, None)  # also in threads that the Task has started itself
        if cancelled() or (token and token.is_cancelled):
            raise TaskError(f"{self.name} is not wanted any more, and writes nothing")
        if not filename or filename.startswith("/") or ".." in filename.split("/"):
            raise PlanError(f"{self.name} writes to {filename!r}; expected the name of a file below its results")
        place = pipeline[RESULTS].rstrip("/")
        if place.startswith("s3://"):
            bucket, _, prefix = place.removeprefix("s3://").partition("/")
            _put(bucket, f"{prefix}/{filename}".lstrip("/"), data)
        else:
            _write(f"{place}/{filename}", data)

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if "execute" in cls.__dict__:
            cls.execute = _checked(cls.execute)  # type: ignore[method-assign]
        if "write_to_s3" in cls.__dict__:
            cls.write_to_s3 = _counted(cls.write_to_s3)  # type: ignore[method-assign]


_CALLS, _TOKEN = "_s3_calls", "_s3_token"
"""What an S3Task keeps on the Pipeline that it was given: how often it has written, and who waits for it."""


def _counted(write: Callable[..., None]) -> Callable[..., None]:
    @functools.wraps(write)
    def counted(self: S3Task, pipeline: Pipeline, filename: str, data: bytes) -> None:
        object.__setattr__(pipeline, _CALLS, getattr(pipeline, _CALLS, 0) + 1)
        write(self, pipeline, filename, data)

    return counted


def _checked(execute: Callable[..., Pipeline]) -> Callable[..., Pipeline]:
    @functools.wraps(execute)
    def checked(self: S3Task, pipeline: Pipeline) -> Pipeline:
        object.__setattr__(pipeline, _TOKEN, current_token())
        before = getattr(pipeline, _CALLS, 0)
        returned = execute(self, pipeline)
        if getattr(pipeline, _CALLS, 0) == before:
            raise PlanError(
                f"{self.name} ended without calling write_to_s3", hint="a Task that writes nothing is a Task"
            )
        return returned

    return checked


S3Task.write_to_s3 = _counted(S3Task.write_to_s3)  # type: ignore[method-assign]


@functools.lru_cache(maxsize=1)
def _client(_process: int) -> Any:
    """One client for all threads of a process; AWS_ENDPOINT_URL and the rest of the user's configuration count."""
    import boto3
    from botocore.config import Config

    retries: Any = {"mode": "standard", "total_max_attempts": 8}
    return boto3.client("s3", config=Config(retries=retries))


def _put(bucket: str, key: str, data: bytes) -> None:
    try:
        from botocore.exceptions import BotoCoreError, ClientError
    except ImportError as error:
        raise StorageError("s3:// needs the package boto3, which is not installed", hint="pip install boto3") from error
    try:
        _client(os.getpid()).put_object(Bucket=bucket, Key=key, Body=data)
    except (BotoCoreError, ClientError, ValueError) as error:  # ValueError: an endpoint that is no URL
        raise StorageError(
            f"cannot write s3://{bucket}/{key}: {error}", hint="check the bucket, the credentials and the region"
        ) from error


def _write(path: str, data: bytes) -> None:
    """Write aside and rename: a reader sees nothing, or all of it."""
    from pathlib import Path  # not needed for a bucket

    target = Path(path)
    aside = target.with_name(f".{target.name}.{os.getpid()}-{threading.get_ident()}")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        aside.write_bytes(data)
        aside.replace(target)
    except OSError as error:
        raise StorageError(f"cannot write {target}: {error.strerror}") from error
