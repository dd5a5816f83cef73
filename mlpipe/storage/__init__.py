"""Where the tree lies: one Protocol, one implementation per kind of place, commit units and claims on top."""

from mlpipe.storage.base import Storage
from mlpipe.storage.local import LocalStorage

__all__ = ["LocalStorage", "Storage"]
