"""Checkpoints: a training's state on disk, so that one that was killed goes on and ends as if it had not been.

A checkpoint is a folder `step-<number of optimiser steps>/` with state.pt (tensors, numbers and text only), the
fingerprint of the training that it belongs to, and a manifest. It is written aside, flushed to disk and renamed, so
that a crash leaves the one before. A platform that carries checkpoints to and fro may still damage one or cut it off:
each is checked before it is used.
"""

from __future__ import annotations

import json
import logging
import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from mlpipe.errors import IntegrityError, StorageError
from mlpipe.manifest import MANIFEST, check_folder, flush_to_disk, parse_manifest, to_bytes, write_manifest
from mlpipe.training.job import TrainingJob

logger = logging.getLogger(__name__)

STATE = "state.pt"
FINGERPRINT = "fingerprint.json"

KEPT = 2
"""How many checkpoints stay: the newest, and the one before, in case the newest gets damaged."""

_PREFIX = "step-"
_ASIDE = ".aside"


@dataclass
class Checkpoints:
    """The checkpoints of one training, below `folder`, which outlives the process.

    `fingerprint` says what the training is, as a JSON document: a checkpoint of another is not used. One is due when
    none was written for `minutes`; 0 means never.
    """

    folder: Path
    fingerprint: Mapping[str, Any]
    minutes: float
    _sound: list[Path] = field(default_factory=list)
    """Those that this process has used or written, the oldest first."""
    _written: float = field(default_factory=time.monotonic)

    @classmethod
    def of(cls, job: TrainingJob, processes: int = 1) -> Checkpoints:
        """The checkpoints of a job's model, which so many processes train."""
        fingerprint = {**fingerprint_of(job), "processes": processes}
        return cls(job.checkpoints, fingerprint, job.settings.training.checkpoint_minutes)

    @property
    def are_due(self) -> bool:
        """True when it is time to write one."""
        return 0 < self.minutes * 60 <= time.monotonic() - self._written

    def newest(self) -> dict[str, Any] | None:
        """The state of the newest checkpoint of this training that is sound; None where there is none.

        One that is damaged or belongs to another training is passed over with a warning that names it.
        """
        for path in sorted(self.folder.glob(f"{_PREFIX}*"), reverse=True):
            try:
                self._check(path)
            except (IntegrityError, OSError) as error:
                logger.warning("checkpoint %s is passed over: %s", path.name, _reason(error))
                continue
            self._sound = [path]
            state: dict[str, Any] = torch.load(path / STATE, map_location="cpu", weights_only=True)
            return state
        return None

    def save(self, step: int, state: Mapping[str, Any]) -> None:
        """Write the state after `step` optimiser steps, and remove all but this one and the one before.

        Raises StorageError where that is not possible; what was written before is still there then.
        """
        path = self.folder / f"{_PREFIX}{step:010}"
        try:
            self._write(path, state)
            self._sound = [*self._sound, path][-KEPT:]
            self._remove_others()
        except (OSError, RuntimeError) as error:  # torch.save reports a full disk as a RuntimeError.
            raise StorageError(
                f"cannot write checkpoint {path}: {_reason(error)}",
                hint="look at the disk; the same command goes on from the checkpoint before",
            ) from error
        self._written = time.monotonic()

    def _write(self, path: Path, state: Mapping[str, Any]) -> None:
        aside = self.folder / _ASIDE
        shutil.rmtree(aside, ignore_errors=True)
        aside.mkdir(parents=True)
        try:
            with (aside / STATE).open("wb") as file:
                torch.save(state, file)
            (aside / FINGERPRINT).write_bytes(to_bytes(self.fingerprint))
            write_manifest(aside)
            for each in [*aside.iterdir(), aside]:
                flush_to_disk(each)
            shutil.rmtree(path, ignore_errors=True)  # Only one that was passed over can have the same step.
            aside.rename(path)
            flush_to_disk(self.folder)
        finally:
            shutil.rmtree(aside, ignore_errors=True)

    def _remove_others(self) -> None:
        for path in self.folder.glob(f"{_PREFIX}*"):
            if path not in self._sound:
                shutil.rmtree(path)

    def _check(self, path: Path) -> None:
        """Raise IntegrityError unless the checkpoint is undamaged and belongs to this training."""
        manifest = path / MANIFEST
        if not manifest.is_file():
            raise IntegrityError(f"{MANIFEST} is missing")
        files = parse_manifest(manifest.read_bytes(), MANIFEST)
        if set(files) != {STATE, FINGERPRINT}:
            raise IntegrityError(f"{MANIFEST} lists {', '.join(files) or 'nothing'}")
        check_folder(path, files, path.name)
        found, own = json.loads((path / FINGERPRINT).read_bytes()), json.loads(to_bytes(self.fingerprint))
        differing = [name for name in own | found if own.get(name) != found.get(name)]
        if differing:
            raise IntegrityError(f"it belongs to another training, with other {', '.join(differing)}")


def fingerprint_of(job: TrainingJob) -> dict[str, Any]:
    """All that the weights of a training depend on, as a JSON document; threads and times are not part of it."""
    settings = job.settings
    training = settings.training.model_dump(mode="json", exclude={"threads", "checkpoint_minutes"})
    model = settings.for_model_functions(job.model_name).to_json()
    return {
        "model_name": job.model_name,
        **model,
        "training": training,
        "objective": "maximized" if settings.maximizes_objective else "minimized",
        "token_budget": settings.inference.token_budget,
        "channels": job.channels_sha256,
        "torch version": torch.__version__,
    }


def _reason(error: Exception) -> str:
    return error.message if isinstance(error, IntegrityError) else f"{type(error).__name__}: {error}"
