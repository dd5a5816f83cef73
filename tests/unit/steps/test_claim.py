"""Which run a command goes on with, and what it says of the one that it does not go on with."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from mlpipe.errors import SettingsError
from mlpipe.manifest import write_manifest
from mlpipe.settings import load_settings
from mlpipe.specs import TaskType
from mlpipe.steps.claim import ClaimRun
from mlpipe.steps.keys import PREPARED, RUN
from mlpipe.steps.outcomes import Snapshot
from mlpipe.steps.preview import Outlook
from mlpipe.steps.state import write_state
from mlpipe.steps.workplace import Workplace
from mlpipe.storage.units import commit
from mlpipe.workflow import Pipeline

Claimed = Callable[..., list[str]]


def snapshot(place: Workplace, task_type: TaskType, address: str = "p") -> Snapshot:
    """A prepared snapshot of which nothing but its data card is there."""
    key = place.tree.prepared(address)
    folder = place.storage.workspace("e/made")
    (folder / "data_card.json").write_text(json.dumps({"task_type": task_type}))
    write_manifest(folder)
    place.storage.store(folder, "e/made")
    return Snapshot(commit(place.storage, "e/made", key), address, False, "it is new")


@pytest.fixture
def claimed(place: Workplace, folder: Path, told: list[str]) -> Claimed:
    """Claims a run with these settings, which then fails; returns what was told of that."""
    prepared = snapshot(place, TaskType.SINGLE_LABEL)

    def claim(*overrides: str, new: bool = False) -> list[str]:
        here = replace(place, settings=load_settings(folder / "settings.ini", overrides, {}))
        pipeline = ClaimRun(here, new=new).execute(Pipeline({PREPARED: prepared}))
        write_state(here, pipeline[RUN], "failed")
        heard = list(told)
        told.clear()
        return heard

    return claim


def test_a_new_run_says_why_the_one_before_is_not_gone_on_with(claimed: Claimed):
    assert claimed() == ["run 1 is new"]
    reason = "it was begun with other settings, and `mlpipe resume 1` ends it with those"
    assert claimed("experiment.seed=5") == [
        f"run 1 is not resumed: {reason}",
        "run 2 is new",
    ]
    assert claimed("experiment.seed=5") == ["run 2 is resumed"]


@pytest.mark.parametrize(("overrides", "new"), [((), True), (("experiment.run_num=2",), False)])
def test_who_asked_for_a_new_run_is_not_told_why_it_is_one(overrides: tuple[str, ...], new: bool, claimed: Claimed):
    claimed()
    assert claimed("experiment.seed=5", *overrides, new=new) == ["run 2 is new"]


def test_what_the_rows_have_no_form_for_is_refused_by_a_plan_as_well(place: Workplace, folder: Path):
    several, one = snapshot(place, TaskType.MULTI_LABEL, "q"), snapshot(place, TaskType.SINGLE_LABEL, "p")
    weighted = load_settings(folder / "settings.ini", ("training.class_weights=balanced",), {})
    step = ClaimRun(replace(place, settings=weighted), new=False)
    with pytest.raises(SettingsError, match="CLASS_WEIGHTS = balanced: there is no form"):
        step.preview(Outlook(prepared=several))
    with pytest.raises(SettingsError, match="CLASS_WEIGHTS = balanced: there is no form"):
        step.execute(Pipeline({PREPARED: several}))
    for prepared in (one, None):  # None: the rows are still to be made
        assert step.preview(Outlook(prepared=prepared)).decision == "run 1 would be new"
