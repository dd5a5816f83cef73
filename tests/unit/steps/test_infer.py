"""What becomes of an infer job that dies: it is tried again without what it may have died of."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from mlpipe.backends import LocalBackend
from mlpipe.backends.local.launcher import RunningJob, SubprocessLauncher
from mlpipe.manifest import write_manifest
from mlpipe.settings import load_settings
from mlpipe.specs import ModelOutcome
from mlpipe.steps.infer import InferModels
from mlpipe.steps.keys import INFERRED, PREPARED, RUN, trained
from mlpipe.steps.outcomes import Snapshot
from mlpipe.steps.workplace import Workplace
from mlpipe.storage.claims import claim_run
from mlpipe.storage.units import Unit, commit
from mlpipe.workflow import Pipeline


class DeadlyLauncher:
    """Starts processes that end at once, without a word."""

    def launch(self, argv: Sequence[str], environment: Mapping[str, str], folder: Path, log: Path) -> RunningJob:
        return SubprocessLauncher().launch(
            [sys.executable, "-S", "-c", "raise SystemExit(1)"], environment, folder, log
        )


def unit(place: Workplace, key: str, files: Mapping[str, str]) -> Unit:
    """A committed unit of these files."""
    folder = place.storage.workspace("e/made")
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(content)
    write_manifest(folder)
    place.storage.store(folder, "e/made")
    return commit(place.storage, "e/made", key)


@pytest.mark.parametrize(
    ("models", "overrides", "retry"),
    [
        ("a, b", ("data.text_column=text",), "each model by itself and without the linear model on words"),
        ("a, b", (), "each model by itself"),
        ("a", ("data.text_column=text",), "without the linear model on words"),
        ("a", (), None),
    ],
)
def test_what_a_second_try_leaves_out_is_what_the_first_one_had(
    models: str, overrides: tuple[str, ...], retry: str | None, place: Workplace, folder: Path, told: list[str]
):
    settings = load_settings(folder / "settings.ini", (f"experiment.model_names={models}", *overrides), {})
    backend = LocalBackend(place.storage, folder, launcher=DeadlyLauncher())
    here = replace(place, settings=settings, backend=backend)
    card = {"data_card.json": json.dumps({"test_sha256": "0"})}
    splits = {f"{split}/rows": "" for split in ("train", "test", "encoding")}
    prepared = unit(here, here.tree.prepared("p"), card | splits)
    claim = claim_run(here.storage, here.tree, {"snapshot": "p"}, new=False, run_num=None)
    names = models.split(", ")
    for name in names:
        unit(here, claim.run.model(name), {"model.pt": "weights"})
    values = {PREPARED: Snapshot(prepared, "p", False, ""), RUN: claim}
    values |= {trained(name): ModelOutcome(name) for name in names}
    outcomes = InferModels(here, names).execute(Pipeline(values))[INFERRED]
    assert [outcome.is_published for outcome in outcomes.values()] == [False] * len(names)
    tried = [text for text in told if "tried again" in text]
    assert tried == ([f"infer: tried again, {retry}"] if retry else [])
