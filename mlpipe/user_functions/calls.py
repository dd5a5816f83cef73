"""How jobs call the user's code: loaded from the folder that travelled with the job, every failure reported as the
user's.

A report names the function, the file and line inside the user's code, and what the function was given.
"""

from __future__ import annotations

import contextlib
import importlib
import itertools
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from mlpipe.errors import JobStopped, MlpipeError, UserFunctionError
from mlpipe.settings import DataFunctionSettings, ModelFunctionSettings
from mlpipe.user_functions.protocols import FUNCTIONS


@contextlib.contextmanager
def user_code(function: str, given: str, code: Path | None = None, *, can_hang: bool = False) -> Iterator[None]:
    """Report whatever is raised inside as a failure of the user's `function`, which was given `given`.

    SystemExit counts as a failure too: user code that exits has not done its work. Errors of mlpipe pass through, and
    so does the stop of the job, unless `can_hang` says that the call should have been short: then the function is
    reported as the one that was still running. `code` is the folder whose frames are the user's; by default the
    innermost frame is named.
    """
    try:
        yield
    except (MlpipeError, KeyboardInterrupt):
        raise
    except JobStopped as error:
        if not can_hang:
            raise
        where = _innermost(error.__traceback__, code)
        raise UserFunctionError(
            f"{function} was still running at {where} when the job was stopped; it was given {given}",
            hint="if it only needs longer, raise [LOCAL] MAX_RUNTIME",
        ) from error
    except BaseException as error:
        where = _innermost(error.__traceback__, code)
        what = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
        raise UserFunctionError(f"{function} failed at {where}: {what}", hint=f"it was given {given}") from error


def _innermost(trace: TracebackType | None, code: Path | None) -> str:
    """`file:line` of the innermost frame below `code`, or of the innermost frame at all."""
    frames = traceback.extract_tb(trace)
    own = [frame for frame in frames if code and Path(frame.filename).is_relative_to(code)]
    frame = (own or frames)[-1]
    path = Path(frame.filename)
    shown = path.relative_to(code).as_posix() if own and code else path.as_posix()
    return f"{shown}:{frame.lineno}"


@dataclass(frozen=True)
class UserFunctions:
    """The user's five functions, ready to be called; `code` is the folder that they were loaded from.

    Every method raises UserFunctionError where the user's function raises, exits, or returns what its contract
    excludes.
    """

    code: Path
    functions: Mapping[str, Callable[..., Any]]

    @classmethod
    def load(cls, code: Path, package: str) -> UserFunctions:
        """Import the five functions from `code/<package>/` or `code/<package>.py`.

        `code` is put on `sys.path`, and modules of the same name that were imported from elsewhere are forgotten.
        """
        code = code.resolve()
        for name in [name for name in sys.modules if name == package or name.startswith(f"{package}.")]:
            del sys.modules[name]
        if str(code) not in sys.path:
            sys.path.insert(0, str(code))
        importlib.invalidate_caches()
        return cls(code, {name: _import_function(code, package, name) for name in FUNCTIONS})

    def reconcile(self, settings: DataFunctionSettings) -> Iterator[Mapping[str, Any]]:
        """Yield what the user's reconcile yields; a failure names the number of rows that came before it."""
        with self._call("reconcile", "the settings"):
            rows = self.functions["reconcile"](settings)
        if rows is None:
            raise UserFunctionError(
                "reconcile() returned None", hint="yield one mapping per row, or return a list of them"
            )
        with self._call("reconcile", "the settings"):
            iterator = iter(rows)
        for count in itertools.count():
            with self._call("reconcile", f"the settings, and had yielded {count} rows"):
                try:
                    row: Mapping[str, Any] = next(iterator)
                except StopIteration:
                    return
            yield row

    def load_processor(self, model_name: str, settings: DataFunctionSettings) -> Any:
        """Call the user's load_processor."""
        with self._call("load_processor", f"model_name={model_name!r}"):
            return self.functions["load_processor"](model_name, settings)

    def encode(
        self,
        examples: dict[str, list[Any]],
        processor: Any,
        model_name: str,
        settings: DataFunctionSettings,
        *,
        ids: Sequence[str],
    ) -> Mapping[str, Any]:
        """Call the user's encode with one batch; `ids` are the ids of its rows."""
        rows = f"{len(ids)} rows (ids {ids[0]} to {ids[-1]})"
        given = f"{rows} for model {model_name}, columns {', '.join(examples)}"
        with self._call("encode", given):
            encoded = self.functions["encode"](examples, processor, model_name, settings)
        if not isinstance(encoded, Mapping):
            raise UserFunctionError(
                f"encode() returned {_described(encoded)}; a mapping of lists is expected", hint=f"it was given {given}"
            )
        return encoded

    def load_model(self, model_name: str, id2label: dict[int, str], settings: ModelFunctionSettings) -> Any:
        """Call the user's load_model; the caller checks that a torch module came back."""
        with self._call("load_model", f"model_name={model_name!r} and {len(id2label)} labels"):
            return self.functions["load_model"](model_name, id2label, settings)

    def ordered_input_keys(self, model_name: str, settings: ModelFunctionSettings) -> dict[str, int | float]:
        """The inputs of the model's forward in order, each with its padding value (0 where the user gave none)."""
        with self._call("ordered_input_keys", f"model_name={model_name!r}"):
            keys = self.functions["ordered_input_keys"](model_name, settings)
        return _padding_values(keys, model_name)

    def _call(self, name: str, given: str) -> contextlib.AbstractContextManager[None]:
        return user_code(f"{name}()", given, self.code, can_hang=True)


def _padding_values(keys: object, model_name: str) -> dict[str, int | float]:
    padding: dict[str, int | float] = {}
    if isinstance(keys, Mapping):
        padding = dict(keys)
    elif isinstance(keys, Sequence) and not isinstance(keys, str):
        padding = dict.fromkeys(keys, 0)
    is_valid = all(
        isinstance(name, str) and isinstance(value, int | float) and not isinstance(value, bool)
        for name, value in padding.items()
    )
    if not padding or not is_valid or len(padding) != len(keys):  # type: ignore[arg-type]
        raise UserFunctionError(
            f"ordered_input_keys() returned {_described(keys)} for model {model_name}",
            hint='return the names in order, each once, as ["input_ids", "attention_mask"], '
            'or with their padding values, as {"input_ids": 1, "attention_mask": 0}',
        )
    return padding


def _import_function(code: Path, package: str, name: str) -> Callable[..., Any]:
    module = f"{package}.{name}" if (code / package / f"{name}.py").is_file() else package
    with user_code(f"the import of {module}", "nothing", code, can_hang=True):
        function = getattr(importlib.import_module(module), name, None)
    if not callable(function):
        raise UserFunctionError(f"{module} defines no function {name}({', '.join(FUNCTIONS[name])})")
    return function  # type: ignore[no-any-return]


def _described(value: object) -> str:
    shown = repr(value)
    return shown if len(shown) <= 80 else f"a {type(value).__name__} ({shown[:60]}...)"
