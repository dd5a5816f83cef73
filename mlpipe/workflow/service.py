"""What a user gives to `mlpipe worker`: the Tasks of a service, and how a message becomes a Pipeline.

    class Invoices:
        retryable = (TimeoutError,)

        def tasks(self):
            return [ReadDocument(), Classify(), WriteResult()]

        def pipeline(self, message):
            return Pipeline({DOCUMENT: message.json()["document"]})

`mlpipe worker package.module:Invoices --queue URL` consumes a queue with it.
"""

from __future__ import annotations

import contextlib
import difflib
import importlib
import json
import traceback
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, cast

from mlpipe.errors import MlpipeError, PoisonMessage, UsageError, UserFunctionError
from mlpipe.workflow.lease import Lease
from mlpipe.workflow.pipeline import Key, Pipeline
from mlpipe.workflow.task import Task


@dataclass(frozen=True)
class Message:
    """One delivery of a message."""

    id: str
    """The same at every delivery: what output keys are made of, so that a duplicate writes what is there already."""
    body: str = field(repr=False)
    receive_count: int
    """How often the queue has delivered the message, this time included."""
    receipt: str = field(repr=False)
    """The handle of this delivery, by which the queue is told how it ended."""

    def json(self) -> Any:
        """Parse the body; raises PoisonMessage where it is not JSON."""
        try:
            return json.loads(self.body)
        except ValueError as error:
            raise PoisonMessage(f"the body of message {self.id} is not JSON: {error}") from error


MESSAGE: Key[Message] = Key("message")
"""The message that a Pipeline is about; the worker puts it there."""
LEASE: Key[Lease] = Key("lease")
"""The lease on it; a Task that writes outside the Pipeline calls `pipeline[LEASE].require()` right before."""


class Service(Protocol):
    """What a worker runs for every message; `pipeline` is called, and the Tasks are used, by several threads."""

    @property
    def retryable(self) -> tuple[type[Exception], ...]:
        """Exceptions after which another attempt may succeed; those of storage and network are known already."""
        ...

    def tasks(self) -> Sequence[Task]:
        """The Tasks, planned once when the worker starts and run for every message."""
        ...

    def pipeline(self, message: Message) -> Pipeline:
        """A new Pipeline for one message; raises PoisonMessage where nothing can be made of it."""
        ...


def load_service(reference: str) -> Service:
    """Import the service that `module:name` refers to; a class is called without arguments.

    Raises UsageError where there is no such module or name, and where the object is not a Service, and
    UserFunctionError where the code of the module fails.
    """
    module_name, _, name = reference.partition(":")
    if not module_name or not name:
        raise UsageError(
            f"{reference!r} names no service", hint="write module:name, as in `my_package.service:Invoices`"
        )
    with user_code(f"the import of {module_name}"):
        try:
            module = importlib.import_module(module_name)
        except ModuleNotFoundError as error:
            if error.name is None or not f"{module_name}.".startswith(f"{error.name}."):
                raise
            hint = "modules are looked for in the current folder and among the installed packages"
            raise UsageError(f"there is no module {error.name!r}", hint=hint) from error
    if not hasattr(module, name):
        near = difflib.get_close_matches(name, vars(module), n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"define it in {module.__file__}"
        raise UsageError(f"{module_name} has no {name!r}", hint=hint)
    found = getattr(module, name)
    with user_code(f"{name}()"):
        service = found() if isinstance(found, type) else found
    return _checked(service, reference)


@contextlib.contextmanager
def user_code(what: str) -> Iterator[None]:
    """Raise what the user's code raises inside as a UserFunctionError that says where; mlpipe's own errors pass."""
    try:
        yield
    except MlpipeError:
        raise
    except Exception as error:
        raise UserFunctionError(f"{what} failed at {location(error)}: {type(error).__name__}: {error}") from error


def location(error: BaseException) -> str:
    """File and line that raised an error."""
    frame = traceback.extract_tb(error.__traceback__)[-1]
    return f"{frame.filename}:{frame.lineno}"


def _checked(service: object, reference: str) -> Service:
    missing = [name for name in ("tasks", "pipeline", "retryable") if not hasattr(service, name)]
    if missing:
        hint = "a service has tasks(), pipeline(message) and retryable, a tuple of exceptions that may be empty"
        raise UsageError(f"{reference} has no {' and no '.join(missing)}", hint=hint)
    retryable = cast("Service", service).retryable
    if not isinstance(retryable, tuple) or not all(
        isinstance(one, type) and issubclass(one, Exception) for one in retryable
    ):
        raise UsageError(f"{reference}: retryable is {retryable!r}; it has to be a tuple of exception classes")
    return cast("Service", service)
