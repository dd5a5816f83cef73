"""The record of a job that outlives the command which submits it: how the next command finds it again.

It is written before the job is submitted. A command that dies in between leaves a record without a job, never a job
without a record.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from typing import Any

from mlpipe.backends.base import Backend, JobState
from mlpipe.errors import IntegrityError
from mlpipe.manifest import MANIFEST, digest, to_bytes
from mlpipe.specs import JobKind, JobSpec
from mlpipe.storage import Storage
from mlpipe.storage.documents import read_document


@dataclass(frozen=True)
class JobRecord:
    """A submitted job: its name and kind, its handle, and the keys of its attempt and its log."""

    name: str
    kind: JobKind
    handle: str
    attempt: str
    log: str


def identity_of(spec: JobSpec, **context: Any) -> str:
    """What tells a job from others of its name: all that its result depends on, as 16 hex digits."""
    document = {
        "spec": asdict(replace(spec, attempt="", log="", channels=spec.channels[1:])),  # the first is of the attempt
        **context,
    }
    return digest(to_bytes(document))[:16]


def record(storage: Storage, key: str, backend: Backend, spec: JobSpec) -> None:
    """Write down that this job is about to be submitted."""
    entry = JobRecord(spec.name, spec.kind, backend.handle_of(spec), spec.attempt, spec.log)
    storage.write(key, to_bytes(asdict(entry)))


def recorded_attempt(storage: Storage, key: str, backend: Backend, spec: JobSpec) -> JobSpec | None:
    """The spec of the recorded job, where it still runs or what it produced is still there; None otherwise."""
    if not storage.exists(key):
        return None
    entry = read_record(storage, key)
    first = replace(spec.channels[0], key=spec.channels[0].key.replace(spec.attempt, entry.attempt, 1))
    known = replace(spec, attempt=entry.attempt, log=entry.log, channels=(first, *spec.channels[1:]))
    status = backend.find(known)
    if status is None or status.state is JobState.FAILED:
        return None
    is_gone = status.state is JobState.COMPLETED and not storage.exists(f"{status.output}/{MANIFEST}")
    return None if is_gone else known


def read_record(storage: Storage, key: str) -> JobRecord:
    """One record; IntegrityError where it is none."""
    document = read_document(storage, key, "handle")
    try:
        return JobRecord(**{**document, "kind": JobKind(document["kind"])})
    except (KeyError, TypeError, ValueError) as error:
        raise IntegrityError(f"{storage.locate(key)} is no record of a job: {error}") from error


def records_below(storage: Storage, folder: str) -> Iterator[JobRecord]:
    """The records of a folder."""
    for name in sorted(storage.files(folder)):
        yield read_record(storage, f"{folder}/{name}")
