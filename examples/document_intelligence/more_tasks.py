"""Two further tasks: what adding one costs is a class with its keys, and one more entry in the list of tasks."""

from __future__ import annotations

import re

import py3langid
from keys import LANGUAGE, PAGINATED_TEXT, SECTIONS

from mlpipe.workflow import Pipeline, Task

_HEADING = re.compile(r"^\d+(?:\.\d+)*\.? +\S.{0,70}$", re.MULTILINE)


class LanguageDetection(Task):
    """Says what language a document is written in."""

    input_keys = (PAGINATED_TEXT,)
    output_keys = (LANGUAGE,)

    def execute(self, pipeline: Pipeline) -> Pipeline:
        """Write LANGUAGE, an ISO 639-1 code."""
        pipeline[LANGUAGE], _ = py3langid.classify(" ".join(pipeline[PAGINATED_TEXT]))
        return pipeline


class SectionDetection(Task):
    """Counts the sections of a document by their numbered headings."""

    input_keys = (PAGINATED_TEXT,)
    output_keys = (SECTIONS,)

    def execute(self, pipeline: Pipeline) -> Pipeline:
        """Write SECTIONS."""
        pipeline[SECTIONS] = sum(len(_HEADING.findall(page)) for page in pipeline[PAGINATED_TEXT])
        return pipeline
