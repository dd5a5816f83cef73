"""What the tasks of the example hand to each other."""

from __future__ import annotations

from mlpipe.workflow import Key

DOCUMENT: Key[str] = Key("document")
"""The name of the document: its results stand under it."""
PDF: Key[bytes] = Key("pdf")
PASSWORD: Key[str] = Key("password")
""""" for a document that has none."""
DECRYPTED_PDF: Key[bytes] = Key("decrypted_pdf")
PAGINATED_TEXT: Key[list[str]] = Key("paginated_text")
DOC_CLASSIFY_INFERENCE: Key[tuple[str, float]] = Key("doc_classify_inference")
KEYWORDS: Key[dict[str, list[int]]] = Key("keywords")
"""Each keyword that occurs, with the numbers of its pages, from 1."""
LANGUAGE: Key[str] = Key("language")
SECTIONS: Key[int] = Key("sections")
CSV_OUTPUT: Key[str] = Key("csv_output")
