"""The step infer: the only one that opens the test set, for all models of a run at once."""

from __future__ import annotations

import json
import uuid
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from mlpipe.backends import JobResult
from mlpipe.contract import YARDSTICK
from mlpipe.errors import JobError
from mlpipe.manifest import MANIFEST, to_bytes
from mlpipe.runs import RunTree
from mlpipe.specs import Channel, JobSpec, ModelOutcome
from mlpipe.steps.keys import INFERRED, PREPARED, RUN, trained
from mlpipe.steps.ownership import publish
from mlpipe.steps.preview import Outlook, Preview, Step
from mlpipe.steps.state import record_job
from mlpipe.steps.workplace import Workplace
from mlpipe.storage.claims import Claim
from mlpipe.storage.units import Unit, is_committed, open_unit
from mlpipe.workflow import Pipeline


class InferModels(Step):
    """Runs every published model on the unseen test set, unless its results are published already."""

    def __init__(self, place: Workplace, model_names: Sequence[str]) -> None:
        self._place = place
        self._model_names = tuple(model_names)
        self.input_keys = (PREPARED, RUN, *map(trained, model_names))
        self.output_keys = (INFERRED,)

    def execute(self, pipeline: Pipeline) -> Pipeline:
        """Write INFERRED: the outcome of every model, those that failed in training included."""
        place, claim = self._place, pipeline[RUN]
        outcomes: dict[str, ModelOutcome] = {name: pipeline[trained(name)] for name in self._model_names}
        todo = [
            name
            for name, outcome in outcomes.items()
            if outcome.is_published and not is_committed(place.storage, claim.run.inference(name))
        ]
        if todo:
            yardstick = _needs_yardstick(place, claim.run)
            inferred = self._infer(claim, pipeline[PREPARED].unit, todo, yardstick=yardstick)
            outcomes |= {outcome.model_name: outcome for outcome in inferred}
        pipeline[INFERRED] = outcomes
        return pipeline

    def preview(self, outlook: Outlook) -> Preview:
        """Which models would be run on the test set."""
        place, run = self._place, outlook.run or self._place.tree.run(1)
        todo = [name for name in self._model_names if not is_committed(place.storage, run.inference(name))]
        if not todo:
            return Preview(self.name, "done before")
        prepared = outlook.prepared.unit if outlook.prepared else place.pending(place.tree.prepared)
        trained_before = [name for name in todo if is_committed(place.storage, run.model(name))]
        job = _job(place, run, prepared, trained_before, yardstick=_needs_yardstick(place, run))
        job = replace(job, arguments={**job.arguments, "model_names": todo})  # some may be still to be trained
        return Preview(self.name, f"open the test set for {', '.join(todo)}", job)

    def _infer(
        self, claim: Claim, prepared: Unit, model_names: Sequence[str], *, yardstick: bool
    ) -> list[ModelOutcome]:
        """Infer models and publish what came of them; a job that dies is repeated, with each model by itself.

        Those jobs go without the yardstick: it may be what the first one died of.
        """
        place = self._place
        try:
            result = run_inference(place, claim.run, prepared, model_names, yardstick=yardstick)
        except JobError as error:
            if len(model_names) == 1 and not yardstick:
                place.listener.note(f"infer {model_names[0]}: failed: {error}")
                return [ModelOutcome(model_names[0], str(error), type(error).__name__)]
            place.listener.note(f"infer: {error}")
            changes = ["each model by itself"] if len(model_names) > 1 else []
            changes += ["without the linear model on words"] if yardstick else []
            place.listener.note(f"infer: tried again, {' and '.join(changes)}")
            alone = (self._infer(claim, prepared, [name], yardstick=False) for name in model_names)
            return [outcome for outcomes in alone for outcome in outcomes]
        outcomes = inference_outcomes(place, result)
        if place.storage.exists(f"{result.output}/{YARDSTICK}/{MANIFEST}"):
            publish(place.storage, claim, f"{result.output}/{YARDSTICK}", claim.run.yardstick)
        for outcome in outcomes:
            name = outcome.model_name
            if outcome.is_published:
                publish(place.storage, claim, f"{result.output}/{name}", claim.run.inference(name))
            else:
                place.listener.note(f"infer {name}: failed: {outcome.error}")
        record_job(place, claim, result)
        return outcomes


def _needs_yardstick(place: Workplace, run: RunTree) -> bool:
    """Whether the models are to be compared with a linear one on words that is not there yet."""
    return place.settings.data.text_column is not None and not is_committed(place.storage, run.yardstick)


def run_inference(
    place: Workplace, run: RunTree, prepared: Unit, model_names: Sequence[str], *, yardstick: bool = False
) -> JobResult:
    """Run one infer job for models of a run; the opening of the test set is recorded before it happens.

    With `yardstick` the job is given the training rows, too, and trains the linear model on words.
    """
    opened: dict[str, Any] = {
        "opened": datetime.now(UTC).isoformat(timespec="seconds"),
        "run_num": run.run_num,
        "models": list(model_names),
        "snapshot": prepared.key,
        "test_sha256": prepared.read_json("data_card.json")["test_sha256"],
    }
    use_id = f"{opened['opened'].replace(':', '')}-{uuid.uuid4().hex[:8]}"
    place.storage.create(place.tree.test_use(use_id), to_bytes(opened))
    return place.run(_job(place, run, prepared, model_names, yardstick=yardstick))


def inference_outcomes(place: Workplace, result: JobResult) -> list[ModelOutcome]:
    """What became of each model in an infer job."""
    return [ModelOutcome(**entry) for entry in json.loads(place.storage.read(f"{result.output}/outcomes.json"))]


def _job(place: Workplace, run: RunTree, prepared: Unit, model_names: Sequence[str], *, yardstick: bool) -> JobSpec:
    channels = [
        prepared.channel("test", "test"),
        prepared.channel("encoding", "encoding"),
        _models_channel(place, run, model_names),
    ]
    channels += [prepared.channel("train", "train")] if yardstick else []
    return place.job("infer", channels, tree=run, arguments={"model_names": list(model_names)})


def _models_channel(place: Workplace, run: RunTree, model_names: Sequence[str]) -> Channel:
    files = {
        f"{name}/{path}": record
        for name in model_names
        for path, record in open_unit(place.storage, run.model(name)).files.items()
    }
    return Channel("models", run.models, files)
