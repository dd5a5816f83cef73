"""The service that test_queue.py runs in processes of its own: it writes one file per document."""

from __future__ import annotations

import os
import time
from pathlib import Path

from mlpipe.workflow import Key, Pipeline, Task
from mlpipe.workflow.service import LEASE, MESSAGE, Message

TEXT: Key[str] = Key("text")
WRITTEN: Key[Path] = Key("written")

OUTPUT = Path(os.environ.get("OUTPUT", "."))
SLOW = OUTPUT / "slow"
"""While this file is there, a document takes forever."""
OUTLIVES = "outlives"
"""A document that takes until its lease ends, or has been renewed several times."""


class Read(Task):
    """Reads the text, for as long as a test wants it."""

    input_keys = (MESSAGE, LEASE)
    output_keys = (TEXT,)

    def execute(self, pipeline: Pipeline) -> Pipeline:
        text = pipeline[MESSAGE].json()["text"]
        (OUTPUT / f"at-work-{os.getpid()}").write_text(pipeline[MESSAGE].receipt)
        while SLOW.exists() and pipeline[LEASE].is_held:
            time.sleep(0.01)
        while text == OUTLIVES and pipeline[LEASE].is_held and pipeline[LEASE].renewals < 4:
            time.sleep(0.01)
        pipeline[TEXT] = text
        return pipeline


class Write(Task):
    """Writes the text under the message's id, unless the lease has ended."""

    input_keys = (TEXT, MESSAGE, LEASE)
    output_keys = (WRITTEN,)

    def execute(self, pipeline: Pipeline) -> Pipeline:
        path = OUTPUT / pipeline[MESSAGE].id / "text.txt"
        pipeline[LEASE].require()
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"{pipeline[TEXT]}, by {os.environ['WRITER']}")
        pipeline[WRITTEN] = path
        return pipeline


class Documents:
    """Messages are {"text": ...}."""

    retryable: tuple[type[Exception], ...] = ()

    def tasks(self) -> list[Task]:
        return [Read(), Write()]

    def pipeline(self, message: Message) -> Pipeline:
        return Pipeline()
