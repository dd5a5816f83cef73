"""What a run has left in a bucket."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping

import moto_server


def contents(bucket: str, endpoint: str) -> dict[str, bytes]:
    """Every object by its key."""
    client = moto_server.client("s3", endpoint)
    pages = client.get_paginator("list_objects_v2").paginate(Bucket=bucket)
    keys = [entry["Key"] for page in pages for entry in page.get("Contents", ())]
    return {key: client.get_object(Bucket=bucket, Key=key)["Body"].read() for key in keys}


def check_units(found: Mapping[str, bytes], run: str) -> None:
    """Every model and its inference is complete, and what its manifest vouches for."""
    for unit in ("models/small", "models/large", "inference/small", "inference/large"):
        manifest = json.loads(found[f"{run}/{unit}/manifest.json"])["files"]
        names = {key.removeprefix(f"{run}/{unit}/") for key in found if key.startswith(f"{run}/{unit}/")}
        assert names == {*manifest, "manifest.json", "_SUCCESS"}
        for name, record in manifest.items():
            assert hashlib.sha256(found[f"{run}/{unit}/{name}"]).hexdigest() == record["sha256"]
    assert f"{run}/_SUCCESS" in found
