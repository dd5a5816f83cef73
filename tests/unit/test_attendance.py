"""Which logs a run has, and of which jobs they are."""

from __future__ import annotations

from pathlib import Path

import pytest

from mlpipe.attendance import job_names, log_lines
from mlpipe.backends import LocalBackend
from mlpipe.backends.records import record
from mlpipe.runs import ExperimentTree
from mlpipe.specs import JobKind, JobSpec
from mlpipe.storage import LocalStorage

RUN = ExperimentTree("e").run(1)


@pytest.mark.parametrize(
    ("attempt_id", "job"),
    [
        ("infer-0123456789ab", "infer"),
        ("train-small-0123456789ab", "train-small"),
        ("train-small-012345678901", "train-small"),
        ("train-m-001-0123456789ab", "train-m-001"),
        ("tune-small-0123456789ab-001", "tune-small"),
        ("tune-small-001", "tune-small"),
        ("tune-small-001_export", "tune-small"),
        ("tune-m-001-002", "tune-m-001"),
    ],
)
def test_a_log_is_of_the_job_that_it_is_named_after_and_that_of_a_trial_of_its_tuning(
    attempt_id: str, job: str, tmp_path: Path
):
    storage = LocalStorage(tmp_path)
    storage.write(RUN.log(attempt_id), b"a line\n")
    storage.write(f"{RUN.output_data('m')}/events.log", b"of a tracker\n")
    assert job_names(storage, RUN) == {job}
    assert list(log_lines(storage, LocalBackend(storage, tmp_path), RUN, follow=False)) == [(job, "a line")]


def test_a_tuning_in_a_service_has_the_logs_of_its_trials_and_none_of_its_own(tmp_path: Path):
    storage = LocalStorage(tmp_path)
    backend = LocalBackend(storage, tmp_path)
    attempt = "tune-m-0123456789ab"
    spec = JobSpec("tune-m", JobKind.TUNING, "train", RUN.attempt(attempt), (), {}, {}, 1, 60, RUN.log(attempt))
    record(storage, f"{RUN.submitted}/tune-m-0.json", backend, spec)
    assert job_names(storage, RUN) == {"tune-m"}
    storage.write(RUN.log(f"{attempt}-001"), b"epoch 1\n")
    assert list(log_lines(storage, backend, RUN, follow=False)) == [("tune-m", "epoch 1")]
