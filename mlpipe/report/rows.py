"""The rows of a snapshot that a report shows: text, or a small picture."""

from __future__ import annotations

import base64
import io
import tempfile
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

from mlpipe.manifest import below, check_folder
from mlpipe.report.findings import Row
from mlpipe.storage.units import Unit

SHOWN_CHARACTERS = 600
PICTURE_PIXELS = 96
PICTURE_FORMATS = ("PNG", "JPEG", "GIF", "WEBP", "BMP", "TIFF")
"""What is decoded: others may start a program (EPS), and rows are not to be trusted."""


def read_rows(prepared: Unit, split: str, row_ids: Collection[str], text_column: str | None) -> dict[str, Row]:
    """Rows of a split by their ids; IntegrityError where the split is not what was committed.

    The text is that of `text_column`, or of the first column of texts; the picture is made from the first column of
    image files.
    """
    if not row_ids:
        return {}
    with tempfile.TemporaryDirectory(prefix="mlpipe-report-") as name:
        folder = Path(name) / split
        prepared.storage.fetch(f"{prepared.key}/{split}", folder)
        check_folder(folder, below(prepared.files, split), f"{prepared.key}/{split}")
        found = {row["id"]: _row(row, text_column) for row in _raw(folder, row_ids)}
    return {row_id: found.get(row_id, Row(row_id)) for row_id in row_ids}


def _raw(folder: Path, row_ids: Collection[str]) -> Iterator[Mapping[str, Any]]:
    """The rows with these ids, without their encoded inputs."""
    import pyarrow as pa  # a tenth of a second
    import pyarrow.compute as pc

    wanted = pa.array(sorted(row_ids), pa.string())
    for path in sorted(folder.glob("*.arrow")):
        with pa.memory_map(str(path)) as source, pa.ipc.open_stream(source) as reader:
            shown = [field.name for field in reader.schema if _is_shown(field.type)]
            for batch in reader:
                chosen = batch.filter(pc.is_in(batch.column("id"), value_set=wanted))
                yield from chosen.select(shown).to_pylist()


def _is_shown(kind: Any) -> bool:
    """Whether a column may hold texts or image files."""
    import pyarrow.types as types

    return any(is_kind(kind) for is_kind in (types.is_string, types.is_large_string, types.is_binary, types.is_struct))


def _row(raw: Mapping[str, Any], text_column: str | None) -> Row:
    values = {name: value for name, value in raw.items() if name not in ("id", "label", "split")}
    texts = [value for value in values.values() if isinstance(value, str)]
    text = values.get(text_column, "") if text_column else next(iter(texts), "")
    pictures = (_picture(value) for value in values.values())
    return Row(raw["id"], _shortened(text or ""), next((picture for picture in pictures if picture), ""))


def _shortened(text: str) -> str:
    return text if len(text) <= SHOWN_CHARACTERS else f"{text[:SHOWN_CHARACTERS].rstrip()} ..."


def _picture(value: Any) -> str:
    """An image file, as bytes or in the struct that `datasets` makes of it, as a small data URI; "" for anything
    else."""
    content = value.get("bytes") if isinstance(value, Mapping) else value
    if not isinstance(content, bytes):
        return ""
    from PIL import Image  # comes with matplotlib; only rows with images need it

    try:
        with Image.open(io.BytesIO(content), formats=PICTURE_FORMATS) as image:
            image.thumbnail((PICTURE_PIXELS, PICTURE_PIXELS))
            small = io.BytesIO()
            image.convert("RGB").save(small, "PNG")
    except Exception:  # Pillow's decoders raise whatever they come across; such a row is shown without a picture
        return ""
    return f"data:image/png;base64,{base64.b64encode(small.getvalue()).decode()}"
