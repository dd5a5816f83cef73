from __future__ import annotations

from typing import get_args

import pytest

from mlpipe.catalog import RunLine
from mlpipe.cli.runs import runs
from mlpipe.steps.state import RunStatus


@pytest.mark.parametrize("status", [*get_args(RunStatus), "abandoned"])
def test_every_status_that_a_run_may_have_is_explained(status: str):
    assert status in str(runs.__doc__), "which is what --help prints"
    assert status in str(RunLine.__doc__)
