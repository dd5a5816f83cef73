"""The service of the example, as `mlpipe worker service:Documents --queue URL` runs it.

A message is JSON: {"bucket": ..., "key": ..., "password": ...}; the results stand below results/<key of the document>/
in the same bucket, whoever works on the message and however often.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import PurePosixPath

import boto3
from keys import DOCUMENT, LANGUAGE, PASSWORD, PDF, SECTIONS
from more_tasks import LanguageDetection, SectionDetection
from tasks import CreateCSVOutput, DecryptPDF, DocClassifyInference, KeywordDetection, PaginatedText

from mlpipe.errors import PoisonMessage
from mlpipe.workflow import Pipeline, Task
from mlpipe.workflow.s3 import RESULTS
from mlpipe.workflow.service import Message

MODEL_VARIABLE = "DOCUMENT_MODEL"
"""The variable that names the model: that of a run, or an experiment, whose model in production is taken."""


class Documents:
    """Classifies PDFs, and finds keywords, languages and sections in them."""

    retryable = (ConnectionError, TimeoutError)

    def __init__(self) -> None:
        self._s3 = boto3.client("s3")

    def tasks(self) -> Sequence[Task]:
        """Make the tasks; the order does not matter."""
        return [
            DecryptPDF(),
            PaginatedText(),
            DocClassifyInference(os.environ[MODEL_VARIABLE]),
            KeywordDetection(),
            LanguageDetection(),
            SectionDetection(),
            CreateCSVOutput(more=(LANGUAGE, SECTIONS)),
        ]

    def pipeline(self, message: Message) -> Pipeline:
        """Fetch the document that a message is about."""
        body = message.json()
        if not isinstance(body, dict) or not {"bucket", "key"} <= body.keys():
            raise PoisonMessage(f"message {message.id} names no bucket and key")
        name = str(PurePosixPath(body["key"]).with_suffix("")).removeprefix("inbox/")
        content = self._s3.get_object(Bucket=body["bucket"], Key=body["key"])["Body"].read()
        return Pipeline(
            {
                DOCUMENT: name,
                PDF: content,
                PASSWORD: body.get("password", ""),
                RESULTS: f"s3://{body['bucket']}/results/{name}",
            }
        )
