from __future__ import annotations

import base64
import io
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from PIL import Image

from mlpipe.errors import IntegrityError
from mlpipe.manifest import SUCCESS, digest, write_manifest
from mlpipe.report.rows import read_rows
from mlpipe.storage import LocalStorage
from mlpipe.storage.units import Unit, open_unit


def picture(size: tuple[int, int] = (400, 300)) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", size, "red").save(file, "JPEG")
    return file.getvalue()


def unit_of(folder: Path, columns: dict[str, Any]) -> Unit:
    """A prepared snapshot whose test split has these columns."""
    split = folder / "snapshot" / "test"
    split.mkdir(parents=True)
    table = pa.table(columns)
    with pa.ipc.new_stream(str(split / "data-00000-of-00001.arrow"), table.schema) as writer:
        for batch in table.to_batches(max_chunksize=2):
            writer.write_batch(batch)
    write_manifest(folder / "snapshot")
    manifest = (folder / "snapshot" / "manifest.json").read_bytes()
    (folder / "snapshot" / SUCCESS).write_text(digest(manifest))
    return open_unit(LocalStorage(folder), "snapshot")


def test_only_the_rows_that_are_asked_for_are_read_with_their_text(tmp_path: Path):
    columns = {"id": ["a", "b", "c"], "label": [0, 1, 0], "title": ["x", "y", "z"], "text": ["one", "two", None]}
    unit = unit_of(tmp_path, {**columns, "m_input_ids": [[1], [2], [3]]})
    found = read_rows(unit, "test", ["c", "a"], "text")
    assert {row_id: row.text for row_id, row in found.items()} == {"a": "one", "c": ""}
    assert read_rows(unit, "test", ["b"], None)["b"].text == "y", "the first column of texts"
    assert read_rows(unit, "test", [], "text") == {}


def test_a_long_text_is_cut_and_an_unknown_row_has_none(tmp_path: Path):
    found = read_rows(unit_of(tmp_path, {"id": ["a"], "text": ["word " * 1000]}), "test", ["a", "nobody"], "text")
    assert len(found["a"].text) < 610
    assert found["a"].text.endswith(" ...")
    assert (found["nobody"].row_id, found["nobody"].text) == ("nobody", "")


@pytest.mark.parametrize("as_struct", [False, True])
def test_an_image_becomes_a_small_picture(tmp_path: Path, as_struct: bool):
    images = [{"bytes": picture(), "path": None}] if as_struct else [picture()]
    row = read_rows(unit_of(tmp_path, {"id": ["a"], "image": images}), "test", ["a"], None)["a"]
    kind, _, content = row.picture.partition(",")
    assert kind == "data:image/png;base64"
    with Image.open(io.BytesIO(base64.b64decode(content))) as small:
        assert small.size == (96, 72)


@pytest.mark.parametrize("content", [b"GIF89a but not really", picture()[:40] + b"?" * 40, b"DDS |" + bytes(200)])
def test_bytes_that_are_no_image_are_no_picture(tmp_path: Path, content: bytes):
    row = read_rows(unit_of(tmp_path, {"id": ["a"], "image": [content]}), "test", ["a"], None)["a"]
    assert (row.text, row.picture) == ("", "")


def test_postscript_is_given_to_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    eps = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 100 100\n%%EndComments\n%%EOF\n"
    started = tmp_path / "started"
    program = tmp_path / "bin" / "gs"
    program.parent.mkdir()
    program.write_text(f"#!/bin/sh\ntouch {started}\n")
    program.chmod(0o755)
    monkeypatch.setattr("PIL.EpsImagePlugin.gs_binary", str(program))
    row = read_rows(unit_of(tmp_path, {"id": ["a"], "image": [eps]}), "test", ["a"], None)["a"]
    assert row.picture == ""
    assert not started.exists()


def test_a_split_that_was_altered_is_refused(tmp_path: Path):
    unit = unit_of(tmp_path, {"id": ["a"], "text": ["one"]})
    file = tmp_path / "snapshot" / "test" / "data-00000-of-00001.arrow"
    file.chmod(0o644)
    file.write_bytes(file.read_bytes().replace(b"one", b"two"))
    with pytest.raises(IntegrityError, match="has changed since it was committed"):
        read_rows(unit, "test", ["a"], "text")
