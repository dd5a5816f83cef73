"""What one training job is given."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from mlpipe.settings import Hyperparameters, Settings
from mlpipe.specs import Encoding, Origin
from mlpipe.user_functions import UserFunctions


@dataclass(frozen=True)
class TrainingJob:
    """One model to train, and where everything for it lies.

    `train` and `validation` are splits of a prepared snapshot, `encoding_folder` is its encoding/, `output` becomes
    models/<model_name>/. `checkpoints` outlives the process: a job that finds its own there goes on from the newest.
    `channels_sha256` is one number for what the inputs hold. `threads` is the number of CPU threads to compute with
    in each process. `origin` says what the job is part of, `tracker_files` takes the local files of a tracker.
    A job that `defers_export` leaves its weights and a checkpoint behind its last epoch, from which the same job
    without that exports the model.
    """

    model_name: str
    encoding: Encoding
    train: Path
    validation: Path
    encoding_folder: Path
    output: Path
    checkpoints: Path
    channels_sha256: str
    settings: Settings
    functions: UserFunctions
    threads: int
    origin: Origin
    tracker_files: Path
    defers_export: bool = False

    @property
    def hyperparameters(self) -> Hyperparameters:
        """The hyperparameters of this job's model."""
        return self.settings.hyperparameters[self.model_name]

    @property
    def id2label(self) -> dict[int, str]:
        """The label name of every class index."""
        return dict(enumerate(self.encoding.labels))
