"""Where jobs run: one Protocol, one implementation per kind of place."""

from mlpipe.backends.base import Backend, JobListener, JobResult, JobState, JobStatus, run_job
from mlpipe.backends.local.backend import LocalBackend

__all__ = ["Backend", "JobListener", "JobResult", "JobState", "JobStatus", "LocalBackend", "run_job"]
