"""Every error that mlpipe raises on purpose, each with the exit code of the command that it ends.

    MlpipeError                 1   the run failed
    ├── UsageError              2   a command was asked for something that is not there
    │   └── SettingsError       2   settings.ini, --set or an environment variable is wrong
    ├── UserFunctionError       3   one of the five user functions failed, hung or returned nonsense
    │   └── DataError           3   the rows that reconcile() yields cannot be used
    ├── StorageError            4   a folder or bucket could not be read or written
    │   └── IntegrityError      4   a committed file is not what its manifest vouches for
    ├── CloudError              4   a service refused a request, or could not be reached
    ├── JobError                1   a job ended without doing its work
    ├── ExportError             1   no TorchScript export of a model equals the model
    ├── PlanError               1   Tasks that do not fit together
    ├── TaskError               1   a Task did not come to its end
    │   └── TaskTimeout         1   it took longer than its time limit
    ├── LeaseLost               1   a message is no longer this worker's
    ├── PoisonMessage           1   a message that no attempt can turn into a result
    ├── QueueError              4   a queue could not be read, or refused a request
    │   └── QueueUnavailable    4   a queue did not answer, or was too busy; later it may be there again
    ├── PartialFailure          5   some models are done, some are not
    └── Interrupted           130   stopped by the user

An error carries what happened (`message`) and what to do about it (`hint`). Errors of other libraries are wrapped, so
that a user never meets the traceback of one without asking for it (`--debug`).
"""

from __future__ import annotations

from collections.abc import Iterator


class MlpipeError(Exception):
    """Base of all errors that mlpipe raises on purpose: a message, and a hint that says what to do."""

    exit_code = 1

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message}\n  {self.hint}" if self.hint else self.message


class UsageError(MlpipeError):
    """A command was asked for something that does not exist or makes no sense."""

    exit_code = 2


class SettingsError(UsageError):
    """The settings cannot be used; the message lists every problem with its file, line, section and key."""


class UserFunctionError(MlpipeError):
    """A user function failed: the message names the function, its file and line, and what it was given."""

    exit_code = 3


class DataError(UserFunctionError):
    """The rows or encodings that user functions delivered cannot be used; the message names row and column."""


class StorageError(MlpipeError):
    """A file or folder of the storage could not be read or written."""

    exit_code = 4


class IntegrityError(StorageError):
    """A committed file is missing or differs from what its manifest vouches for."""


class CloudError(MlpipeError):
    """A cloud service refused a request or could not be reached; the message says what it was asked, and its answer."""

    exit_code = 4


class JobError(MlpipeError):
    """A job ended without its result; the message names the job and its log."""


class ExportError(MlpipeError):
    """No exported form of a model reproduces the model; the message says where they differ and by how much."""


class PlanError(MlpipeError):
    """Tasks whose declared keys do not fit together, or a Task that broke its own declaration."""


class TaskError(MlpipeError):
    """A Task did not come to its end: its process died, or nobody waited for it any more."""


class TaskTimeout(TaskError):
    """A Task took longer than its `timeout_s`."""


class LeaseLost(MlpipeError):
    """The lease on a message has ended: whoever still works on it must write nothing more."""


class PoisonMessage(MlpipeError):
    """A message that can never be processed: no JSON, no document, a document that cannot be read."""


class QueueError(MlpipeError):
    """A queue is not there, or refused a request; the message names the queue and what it said."""

    exit_code = 4


class QueueUnavailable(QueueError):
    """A queue could not be reached, or was too busy: the same request may succeed later."""


class PartialFailure(MlpipeError):
    """Some models of a run are published and some failed; the message names the failed ones."""

    exit_code = 5


class Interrupted(MlpipeError):
    """The user stopped the command; the hint says how to go on."""

    exit_code = 130


def installation(extra: str) -> str:
    """The command that installs an extra, for hints."""
    return f"pip install -e '.[{extra}]' -c constraints.txt, in the folder that mlpipe was installed from"


def error_classes() -> dict[str, type[MlpipeError]]:
    """Every error class by its name: how a job's failure file is turned back into the error that wrote it."""

    def walk(cls: type[MlpipeError]) -> Iterator[type[MlpipeError]]:
        yield cls
        for sub in cls.__subclasses__():
            yield from walk(sub)

    return {cls.__name__: cls for cls in walk(MlpipeError)}


class JobStopped(BaseException):
    """Raised in a job's main thread by SIGTERM: the platform or the time limit ends the job.

    Its text, if there is any, says what is kept for the next attempt.
    Not an `Exception`, so that user code which catches everything it meets does not swallow it.
    """
