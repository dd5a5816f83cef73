"""What a run would do, found out without doing it: the plan that `--dry-run` shows."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass

from mlpipe.runs import RunTree
from mlpipe.specs import JobSpec
from mlpipe.steps.outcomes import Snapshot
from mlpipe.workflow import Task


@dataclass(frozen=True)
class Preview:
    """What one Task would do: its decision in words, and the job that it would start, if any."""

    task: str
    decision: str
    job: JobSpec | None = None


@dataclass
class Outlook:
    """What is known so far while a plan is looked through: each Task adds what it would hand on.

    A snapshot that is still to be made is None; the models of the run that would be resumed may be published already.
    """

    reconciled: Snapshot | None = None
    prepared: Snapshot | None = None
    run: RunTree | None = None


class Step(Task):
    """A Task of an experiment, which can also say what it would do."""

    @abstractmethod
    def preview(self, outlook: Outlook) -> Preview:
        """What `execute` would do after what the Tasks before it would have done; reads the storage, writes nothing."""
