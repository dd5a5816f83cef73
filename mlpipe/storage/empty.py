"""A storage that is never looked at: for a plan without a network, in which nothing has been made yet."""

from __future__ import annotations

import os
from pathlib import Path

from mlpipe.storage.keys import parts_of
from mlpipe.storage.local import LocalStorage


class EmptyStorage(LocalStorage):
    """Says where things would lie below `uri`, and holds none of them; writing raises StorageError.

    The folder that it stands on can never exist.
    """

    def __init__(self, uri: str) -> None:
        super().__init__(Path(os.devnull) / "nothing")
        self._uri = uri.rstrip("/")

    @property
    def uri(self) -> str:
        """The place that it stands for."""
        return self._uri

    def locate(self, key: str) -> str:
        """The place of a key."""
        return f"{self._uri}/{'/'.join(parts_of(key, self._uri))}"
