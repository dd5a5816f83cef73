"""JSON documents in a storage that belong to no commit unit: claims, states, records."""

from __future__ import annotations

import json
from typing import Any

from mlpipe.errors import IntegrityError
from mlpipe.storage.base import Storage


def read_document(storage: Storage, key: str, *required: str) -> dict[str, Any]:
    """The JSON object at `key`, empty where there is none and nothing is `required` of it.

    Raises IntegrityError where something else stands there, or a required key is missing.
    """
    if not required and not storage.exists(key):
        return {}
    try:
        document = json.loads(storage.read(key))
    except ValueError as error:
        raise IntegrityError(f"{storage.locate(key)} is not JSON: {error}", hint="restore it from a backup") from error
    if not isinstance(document, dict):
        raise IntegrityError(f"{storage.locate(key)} does not hold a JSON object", hint="restore it from a backup")
    missing = [name for name in required if name not in document]
    if missing:
        raise IntegrityError(f"{storage.locate(key)} has no {missing[0]!r}", hint="restore it from a backup")
    return document
