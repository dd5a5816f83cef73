"""Where jobs run: one Protocol, one implementation per kind of place."""

from mlpipe.backends.base import Backend, JobListener, JobResult, JobState, JobStatus, WorstCase, follow_job
from mlpipe.backends.local.backend import LocalBackend

__all__ = ["Backend", "JobListener", "JobResult", "JobState", "JobStatus", "LocalBackend", "WorstCase", "follow_job"]
