"""The step train: one training job per model, its export published when it was proved equal to the model."""

from __future__ import annotations

from mlpipe.errors import ExportError, JobError, UserFunctionError
from mlpipe.specs import ModelOutcome, Scalar
from mlpipe.steps.keys import PREPARED, RUN, trained
from mlpipe.steps.ownership import publish
from mlpipe.steps.state import record_job
from mlpipe.steps.workplace import Workplace
from mlpipe.storage.units import is_committed
from mlpipe.workflow import Pipeline, Task


class TrainModel(Task):
    """Trains and exports one model; a failure of the model is an outcome, so that the others go on."""

    def __init__(self, place: Workplace, model_name: str) -> None:
        self._place = place
        self._model_name = model_name
        self.input_keys = (PREPARED, RUN)
        self.output_keys = (trained(model_name),)

    @property
    def name(self) -> str:
        """The step and the model."""
        return f"TrainModel({self._model_name})"

    def execute(self, pipeline: Pipeline) -> Pipeline:
        """Write `trained(model_name)`."""
        pipeline[trained(self._model_name)] = self._outcome(pipeline)
        return pipeline

    def _outcome(self, pipeline: Pipeline) -> ModelOutcome:
        place, name, claim = self._place, self._model_name, pipeline[RUN]
        checkpoints = claim.run.checkpoints(name)
        if is_committed(place.storage, claim.run.model(name)):
            place.storage.delete(checkpoints)
            place.listener.note(f"train {name}: done before")
            return ModelOutcome(name)
        snapshot = pipeline[PREPARED].unit
        channels = [snapshot.channel(part, part) for part in ("train", "validation", "encoding")]
        hyperparameters: dict[str, Scalar] = {**place.settings.hyperparameters[name].as_text()}
        hyperparameters |= place.settings.user_hyperparameters[name]
        try:
            result = place.run_job(
                "train",
                channels,
                tree=claim.run,
                model_name=name,
                hyperparameters=hyperparameters,
                checkpoints=checkpoints,
            )
        except (JobError, UserFunctionError, ExportError) as error:
            place.listener.note(f"train {name}: failed: {error}")
            return ModelOutcome(name, error=str(error), error_class=type(error).__name__)
        publish(place.storage, claim, result.output, claim.run.model(name))
        record_job(place.storage, claim, result)
        place.storage.delete(checkpoints)
        return ModelOutcome(name)
