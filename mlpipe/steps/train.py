"""The step train: one training job per model, its export published when it was proved equal to the model."""

from __future__ import annotations

from dataclasses import asdict

from mlpipe.errors import ExportError, JobError, UserFunctionError
from mlpipe.runs import RunTree
from mlpipe.specs import JobSpec, ModelOutcome, Origin, Scalar
from mlpipe.steps.keys import PREPARED, RUN, trained
from mlpipe.steps.ownership import publish
from mlpipe.steps.preview import Outlook, Preview, Step
from mlpipe.steps.state import record_job
from mlpipe.steps.workplace import Workplace
from mlpipe.storage.claims import identity_of
from mlpipe.storage.units import Unit, is_committed
from mlpipe.workflow import Pipeline, cancelled


class TrainModel(Step):
    """Trains and exports one model; a failure of the model is an outcome, so that the others go on.

    `after` is a model whose training comes first, where not both can train at once.
    """

    def __init__(self, place: Workplace, model_name: str, after: str | None = None) -> None:
        self._place = place
        self._model_name = model_name
        self.input_keys = (PREPARED, RUN, *([trained(after)] if after else []))
        self.output_keys = (trained(model_name),)

    @property
    def name(self) -> str:
        """The step and the model."""
        return f"TrainModel({self._model_name})"

    def execute(self, pipeline: Pipeline) -> Pipeline:
        """Write `trained(model_name)`."""
        pipeline[trained(self._model_name)] = self._outcome(pipeline)
        return pipeline

    def start(self, pipeline: Pipeline) -> None:
        """Submit the training, unless it is done, and wait for nothing."""
        claim = pipeline[RUN]
        if not is_committed(self._place.storage, claim.run.model(self._model_name)):
            self._place.start(self._job(claim.run, pipeline[PREPARED].unit))

    def preview(self, outlook: Outlook) -> Preview:
        """Whether the model would be trained, and how."""
        place, run = self._place, outlook.run or self._place.tree.run(1)
        if is_committed(place.storage, run.model(self._model_name)):
            return Preview(self.name, "done before")
        snapshot = outlook.prepared.unit if outlook.prepared else place.pending(place.tree.prepared)
        is_resumed = bool(place.storage.files(run.checkpoints(self._model_name)))
        decision = "train, from the newest checkpoint" if is_resumed else "train"
        return Preview(self.name, decision, self._job(run, snapshot))

    def _outcome(self, pipeline: Pipeline) -> ModelOutcome:
        place, name, claim = self._place, self._model_name, pipeline[RUN]
        checkpoints = claim.run.checkpoints(name)
        if is_committed(place.storage, claim.run.model(name)):
            place.storage.delete(checkpoints)
            place.listener.note(f"train {name}: done before")
            return ModelOutcome(name)
        try:
            result = place.run(self._job(claim.run, pipeline[PREPARED].unit))
        except (JobError, UserFunctionError, ExportError) as error:
            if not cancelled():  # stopped together with everything else: no failure of its own
                place.listener.note(f"train {name}: failed: {error}")
            return ModelOutcome(name, error=str(error), error_class=type(error).__name__)
        publish(place.storage, claim, result.output, claim.run.model(name))
        record_job(place, claim, result)
        place.storage.delete(checkpoints)
        return ModelOutcome(name)

    def _job(self, run: RunTree, snapshot: Unit) -> JobSpec:
        settings, name = self._place.settings, self._model_name
        hyperparameters: dict[str, Scalar] = {**settings.hyperparameters[name].as_text()}
        return self._place.job(
            "train",
            [snapshot.channel(part, part) for part in ("train", "validation", "encoding")],
            tree=run,
            model_name=name,
            arguments={"origin": asdict(self._origin(run, snapshot))},
            hyperparameters=hyperparameters | dict(settings.user_hyperparameters[name]),
            checkpoints=run.checkpoints(name),
            output_data=run.output_data(name),
        )

    def _origin(self, run: RunTree, snapshot: Unit) -> Origin:
        storage = self._place.storage
        run_id = identity_of(storage, run) if storage.exists(run.claim) else ""  # in a plan, the run may be a new one
        return Origin(run.run_num, run_id, self._job_type(), snapshot=snapshot.key.rpartition("/")[2])

    def _job_type(self) -> str:
        return "compare" if len(self._place.settings.experiment.model_names) > 1 else "train"
