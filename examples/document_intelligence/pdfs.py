"""Makes the PDFs that the example reads: one is encrypted with a password, one has many pages."""

from __future__ import annotations

import random
from dataclasses import dataclass
from datetime import UTC, datetime

from classifier.texts import sentences_of
from fpdf import FPDF
from fpdf.enums import AccessPermission, EncryptionMethod

WRITTEN = datetime(2026, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Document:
    """A PDF, what kind of document it is, and the password that opens it, if it needs one."""

    name: str
    kind: str
    pdf: bytes
    password: str = ""


def make_documents(seed: int = 1) -> list[Document]:
    """Return one PDF of each kind, and a long and an encrypted one."""
    generator = random.Random(seed)
    return [
        _document("invoice-march", "invoice", 1, generator),
        _document("supply-agreement", "contract", 3, generator),
        _document("thank-you", "letter", 1, generator),
        _document("annual-report", "report", 40, generator),
        _document("confidential-agreement", "contract", 2, generator, password="open sesame"),
    ]


def _document(name: str, kind: str, pages: int, generator: random.Random, password: str = "") -> Document:
    pdf = FPDF()
    pdf.set_creation_date(WRITTEN)
    for page in range(1, pages + 1):
        pdf.add_page()
        pdf.set_font("Helvetica", style="B", size=14)
        pdf.cell(text=f"{page}. {kind.title()}, part {page}", new_x="LMARGIN", new_y="NEXT")
        pdf.set_font("Helvetica", size=11)
        for sentence in sentences_of(kind, 8, generator):
            pdf.multi_cell(0, text=sentence, new_x="LMARGIN", new_y="NEXT")
    if password:
        pdf.set_encryption(
            owner_password=password,
            user_password=password,
            encryption_method=EncryptionMethod.AES_256,
            permissions=AccessPermission.none(),
        )
    return Document(name, kind, bytes(pdf.output()), password)
