"""The five tasks that turn a PDF into a line of a table."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Sequence
from pathlib import Path

from keys import (
    CSV_OUTPUT,
    DECRYPTED_PDF,
    DOC_CLASSIFY_INFERENCE,
    DOCUMENT,
    KEYWORDS,
    PAGINATED_TEXT,
    PASSWORD,
    PDF,
)
from pypdf import PdfReader, PdfWriter

import mlpipe
from mlpipe.errors import MlpipeError
from mlpipe.workflow import Pipeline, S3Task, Task

WATCHED = ("agreement", "amount", "invoice", "liable", "percent", "terminate")


class DecryptPDF(Task):
    """Removes the password of a PDF that has one."""

    input_keys = (PDF, PASSWORD)
    output_keys = (DECRYPTED_PDF,)

    def execute(self, pipeline: Pipeline) -> Pipeline:
        """Write DECRYPTED_PDF; MlpipeError where the password does not open the document."""
        content = pipeline[PDF]
        reader = PdfReader(io.BytesIO(content))
        if reader.is_encrypted:
            if not reader.decrypt(pipeline[PASSWORD]):
                raise MlpipeError("the password does not open the PDF", hint="send the message with the right one")
            plain = io.BytesIO()
            PdfWriter(clone_from=reader).write(plain)
            content = plain.getvalue()
        pipeline[DECRYPTED_PDF] = content
        return pipeline


class PaginatedText(Task):
    """Reads the text of each page."""

    input_keys = (DECRYPTED_PDF,)
    output_keys = (PAGINATED_TEXT,)

    def execute(self, pipeline: Pipeline) -> Pipeline:
        """Write PAGINATED_TEXT."""
        reader = PdfReader(io.BytesIO(pipeline[DECRYPTED_PDF]))
        pipeline[PAGINATED_TEXT] = [page.extract_text() for page in reader.pages]
        return pipeline


class DocClassifyInference(S3Task):
    """Says what kind of document it is, by the model that `mlpipe run` made, and files how sure it is of every kind."""

    input_keys = (DOCUMENT, PAGINATED_TEXT)
    output_keys = (DOC_CLASSIFY_INFERENCE,)

    def __init__(self, model: str | Path) -> None:
        """Load the model at `model`: that of a run, or that in production (see `mlpipe.load_model`)."""
        self._predictor = mlpipe.load_model(model)

    def execute(self, pipeline: Pipeline) -> Pipeline:
        """Write DOC_CLASSIFY_INFERENCE."""
        (probabilities,) = self._predictor.probabilities([" ".join(pipeline[PAGINATED_TEXT])])
        best = int(probabilities.argmax())
        lines = [f"{label},{value:.6f}" for label, value in zip(self._predictor.labels, probabilities, strict=True)]
        self.write_to_s3(pipeline, "kinds.csv", "\n".join(["kind,probability", *lines, ""]).encode())
        pipeline[DOC_CLASSIFY_INFERENCE] = (self._predictor.labels[best], float(probabilities[best]))
        return pipeline


class KeywordDetection(Task):
    """Finds the pages on which the watched words occur."""

    input_keys = (PAGINATED_TEXT,)
    output_keys = (KEYWORDS,)

    def __init__(self, watched: Sequence[str] = WATCHED) -> None:
        self._watched = {word: re.compile(rf"\b{re.escape(word)}\b", re.IGNORECASE) for word in watched}

    def execute(self, pipeline: Pipeline) -> Pipeline:
        """Write KEYWORDS."""
        pages = list(enumerate(pipeline[PAGINATED_TEXT], start=1))
        found = {
            word: [number for number, text in pages if pattern.search(text)] for word, pattern in self._watched.items()
        }
        pipeline[KEYWORDS] = {word: numbers for word, numbers in found.items() if numbers}
        return pipeline


class CreateCSVOutput(S3Task):
    """Files what was found out about the document; `more` are the keys of further columns."""

    output_keys = (CSV_OUTPUT,)

    def __init__(self, more: Sequence[str] = ()) -> None:
        self._more = tuple(more)
        self.input_keys = (DOCUMENT, PAGINATED_TEXT, DOC_CLASSIFY_INFERENCE, KEYWORDS, *self._more)

    def execute(self, pipeline: Pipeline) -> Pipeline:
        """Write CSV_OUTPUT."""
        kind, probability = pipeline[DOC_CLASSIFY_INFERENCE]
        found = {
            "document": pipeline[DOCUMENT],
            "pages": len(pipeline[PAGINATED_TEXT]),
            "kind": kind,
            "probability": f"{probability:.3f}",
            "keywords": " ".join(pipeline[KEYWORDS]),
            **{key: pipeline[key] for key in self._more},
        }
        text = io.StringIO()
        writer = csv.DictWriter(text, found, lineterminator="\n")
        writer.writeheader()
        writer.writerow(found)
        self.write_to_s3(pipeline, "summary.csv", text.getvalue().encode())
        pipeline[CSV_OUTPUT] = text.getvalue()
        return pipeline
