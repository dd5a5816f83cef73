"""The Pipeline: the values that Tasks read and write, and the view of them that one Task has while it runs."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator, Mapping
from typing import Any, Generic, TypeVar, overload

from mlpipe.errors import PlanError

T = TypeVar("T")


class Key(str, Generic[T]):
    """The name of a value in a Pipeline, with its type: `PAGES: Key[list[str]] = Key("pages")`.

    A Key is a str: a plain string of the same name addresses the same value.
    """

    __slots__ = ()


class Pipeline:
    """The values that Tasks read and write, by key; values are shared, never copied.

    Keys that are identifiers are attributes as well: `pipeline.pages` is `pipeline["pages"]`.
    """

    __slots__ = ("_busy", "_s3_calls", "_s3_token", "_values")
    _values: dict[str, Any]
    _busy: threading.Lock

    def __init__(self, values: Mapping[str, Any] | None = None) -> None:
        object.__setattr__(self, "_values", dict(values or {}))
        object.__setattr__(self, "_busy", threading.Lock())

    def in_use(self) -> contextlib.AbstractContextManager[dict[str, Any]]:
        """Within it, the values are this caller's to change; PlanError where a plan is being executed on them."""
        return self._in_use()

    @contextlib.contextmanager
    def _in_use(self) -> Iterator[dict[str, Any]]:
        if not self._busy.acquire(blocking=False):
            raise PlanError(
                "a plan is being executed on this pipeline already", hint="give each execution a Pipeline of its own"
            )
        try:
            yield self._values
        finally:
            self._busy.release()

    @overload
    def __getitem__(self, key: Key[T]) -> T: ...
    @overload
    def __getitem__(self, key: str) -> Any: ...
    def __getitem__(self, key: str) -> Any:
        try:
            return self._values[key]
        except KeyError:
            raise PlanError(
                f"{key!r} is not in the pipeline; it holds {', '.join(self._values) or 'nothing'}"
            ) from None

    @overload
    def __setitem__(self, key: Key[T], value: T) -> None: ...
    @overload
    def __setitem__(self, key: str, value: Any) -> None: ...
    def __setitem__(self, key: str, value: Any) -> None:
        self._values[key] = value

    def __contains__(self, key: object) -> bool:
        return key in self._values

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        return self[name]

    def __setattr__(self, name: str, value: Any) -> None:
        self[name] = value


class TaskView(Pipeline):
    """What one Task sees of a Pipeline while it runs: it reads what it declared, and writes what it declared.

    What it writes is kept apart, in `written`, until the Task has ended well: nobody sees half of a Task's work.
    """

    __slots__ = ("_state",)
    _state: tuple[Mapping[str, Any], dict[str, Any], frozenset[str], frozenset[str], str]

    def __init__(
        self,
        values: Mapping[str, Any],
        written: dict[str, Any],
        reads: frozenset[str],
        writes: frozenset[str],
        task: str,
    ) -> None:
        _set_state(self, (values, written, reads, writes, task))

    def in_use(self) -> contextlib.AbstractContextManager[dict[str, Any]]:
        """Refused: a Task that executes a plan of its own needs a Pipeline of its own."""
        raise PlanError(f"{self._state[4]} executes a plan on the pipeline that it was given; make one of its own")

    def __getitem__(self, key: str) -> Any:
        values, written, reads, _, task = self._state
        if key in reads and key in values:
            return values[key]
        if key in written:
            return written[key]
        if key in reads:
            raise PlanError(f"{task} reads {key!r}, which is not in the pipeline")
        raise PlanError(f"{task} reads {key!r}, which is not among its input_keys")

    def __setitem__(self, key: str, value: Any) -> None:
        _, written, _, writes, task = self._state
        if key not in writes:
            raise PlanError(f"{task} writes {key!r}, which is not among its output_keys")
        written[key] = value

    def __contains__(self, key: object) -> bool:
        values, written, reads, _, _ = self._state
        return key in written or (key in reads and key in values)

    def __iter__(self) -> Iterator[str]:
        values, written, reads, _, _ = self._state
        return iter([*(key for key in values if key in reads), *written])


_set_state: Any = vars(TaskView)["_state"].__set__
"""Sets the one attribute of a view: done for every Task, and `object.__setattr__` would look for the slot each time."""
