"""Tasks and the Pipeline: what is to be done, and the state that it reads and writes."""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Generic, TypeVar, overload

from mlpipe.errors import PlanError

T = TypeVar("T")


class Key(str, Generic[T]):
    """The name of a value in a Pipeline, with its type: `PAGES: Key[list[str]] = Key("pages")`.

    A Key is a str: a plain string of the same name addresses the same value.
    """

    __slots__ = ()


class Task(ABC):
    """One step of a workflow: it reads the values of `input_keys` and writes those of `output_keys`.

    A subclass declares both as class attributes, or sets them on the instance, and defines `execute`; the planner
    refuses a task without them.
    """

    input_keys: Sequence[str]
    output_keys: Sequence[str]

    @property
    def name(self) -> str:
        """How messages call this task."""
        return type(self).__name__

    @abstractmethod
    def execute(self, pipeline: Pipeline) -> Pipeline:
        """Read the inputs from `pipeline`, write the outputs to it, and return it."""


class Pipeline:
    """The values that Tasks read and write, by key; values are shared, never copied.

    Keys that are identifiers are attributes as well: `pipeline.pages` is `pipeline["pages"]`.
    """

    def __init__(self, values: Mapping[str, Any] | None = None) -> None:
        object.__setattr__(self, "_values", dict(values or {}))

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

    def restricted_to(self, task: Task) -> Pipeline:
        """A view on the same values that lets `task` read and write only what it declares."""
        return _TaskView(self._values, task)


class _TaskView(Pipeline):
    """What one Task sees of a Pipeline while it runs."""

    def __init__(self, values: dict[str, Any], task: Task) -> None:
        object.__setattr__(self, "_values", values)
        object.__setattr__(self, "_task", task)

    def __getitem__(self, key: str) -> Any:
        if key not in self._task.input_keys and key not in self._task.output_keys:
            raise PlanError(f"{self._task.name} reads {key!r}, which is not among its input_keys")
        return super().__getitem__(key)

    def __setitem__(self, key: str, value: Any) -> None:
        if key not in self._task.output_keys:
            raise PlanError(f"{self._task.name} writes {key!r}, which is not among its output_keys")
        super().__setitem__(key, value)


def check_declaration(task: Task) -> None:
    """Raise PlanError unless a task declares `input_keys` and `output_keys` as sequences of strings."""
    for attribute in ("input_keys", "output_keys"):
        keys = inspect.getattr_static(task, attribute, None)
        is_list = isinstance(keys, Sequence) and not isinstance(keys, str)
        if not is_list or not all(isinstance(key, str) for key in keys):
            raise PlanError(f"{task.name} must declare {attribute} as a list of keys; it has {keys!r}")
