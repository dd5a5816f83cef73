"""The experiment trackers, each through Accelerate's own class for it: what is theirs alone.

A tracker is told what is listed here and nothing else: neither [USER] nor the environment, no code, no console.
"""

from __future__ import annotations

import importlib
import os
import platform
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import Any, ClassVar

from accelerate import Accelerator

import mlpipe
from mlpipe.manifest import digest, to_bytes
from mlpipe.settings import Tracking
from mlpipe.settings.packages import check_tracker
from mlpipe.specs import Scalar
from mlpipe.training.checkpoint import fingerprint_of
from mlpipe.training.job import TrainingJob

VERSIONED = ("torch", "transformers", "accelerate")
"""The packages whose versions a tracker is told."""


@dataclass(frozen=True)
class TrackedRun:
    """What a tracker is told about a training: `name` in the group `<experiment>/<run_num>` of a project.

    `id` is the same whenever the same training goes on, and no other's. `folder` takes what the tracker writes here.
    """

    id: str
    project: str
    group: str
    job_type: str
    name: str
    config: Mapping[str, Scalar]
    folder: Path
    settings: Tracking

    @classmethod
    def of(cls, job: TrainingJob) -> TrackedRun:
        """What is told about a job."""
        experiment, origin = job.settings.experiment.experiment_name, job.origin
        identity = {"run": origin.run_id, **fingerprint_of(job)}
        return cls(
            id=digest(to_bytes(identity))[:32],
            project=job.settings.tracking.project or experiment,
            group=f"{experiment}/{origin.run_num}",
            job_type=origin.job_type,
            name=job.model_name,
            config=_config(job),
            folder=job.tracker_files.resolve(),  # where it stays, when the folders of the job are gone
            settings=job.settings.tracking,
        )


@dataclass(frozen=True)
class Results:
    """What a training came to: its best epoch, all epochs as a table, and a folder of plots (PNG and SVG)."""

    best: Mapping[str, float]
    epochs: Sequence[Mapping[str, float]]
    plots: Path

    @property
    def columns(self) -> list[str]:
        """The names in the table."""
        return list(self.epochs[0])

    @property
    def rows(self) -> list[list[float]]:
        """The values in the table."""
        return [list(epoch.values()) for epoch in self.epochs]

    @property
    def images(self) -> dict[str, Path]:
        """The plots as PNG, by name."""
        return {f"plots/{path.stem}": path for path in sorted(self.plots.glob("*.png"))}


class Tracker:
    """One tracker, for one training. Apart from `load`, all of it may take long, fail, or never return."""

    name: ClassVar[str]
    module: ClassVar[str]
    """What is imported before training: later, two threads would import at once."""
    drawing: ClassVar[Sequence[str]] = ()
    """Modules of the package that draw from Python's shared generator, which belongs to the training."""

    def __init__(self, run: TrackedRun) -> None:
        self.run = run

    @property
    def log_with(self) -> Any:
        """The tracker as Accelerator is told to use it."""
        return self.name

    @property
    def environment(self) -> Mapping[str, str]:
        """Variables that the tracker's package reads, for what cannot be said in a call."""
        return {}

    @property
    def options(self) -> Mapping[str, Any]:
        """What Accelerate's class for the tracker is given beside the project."""
        return {}

    def load(self) -> None:
        """Import the tracker's package, and give it random numbers of its own."""
        self.run.folder.mkdir(parents=True, exist_ok=True)
        os.environ.update(self.environment)
        importlib.import_module(self.module)
        for name in self.drawing:
            vars(importlib.import_module(name))["random"] = random.Random()

    def open(self, accelerator: Accelerator) -> int:
        """Start the tracker's run, or go on with it; returns the last epoch that it holds, or 0."""
        config, options = dict(self.run.config), dict(self.options)
        accelerator.init_trackers(self.run.project, config=config, init_kwargs={self.name: options})
        return 0

    def log(self, accelerator: Accelerator, values: Mapping[str, float], epoch: int) -> None:
        """Hand over what one epoch came to."""
        accelerator.log(dict(values), step=epoch)

    def add_results(self, accelerator: Accelerator, results: Results) -> None:
        """Hand over what the training came to; here, the best epoch."""
        best = {f"best/{name}": value for name, value in results.best.items()}
        self.log(accelerator, best, len(results.epochs))

    def end(self, accelerator: Accelerator, *, failed: bool) -> None:  # noqa: ARG002
        """End the tracker's run, and deliver what is still to be delivered; `failed` says how the training ended."""
        accelerator.get_tracker(self.name).finish()


class WandbTracker(Tracker):
    """Weights & Biases, online (with the user's login or WANDB_API_KEY) or offline."""

    name = "wandb"
    module = "wandb"
    drawing = ("wandb.sdk.lib.retry",)

    @property
    def environment(self) -> Mapping[str, str]:
        """Every file in the run's folder instead of the user's, nothing on the console, no reports to the maker."""
        folder = self.run.folder
        places = {"WANDB_DATA_DIR": str(folder), "WANDB_CACHE_DIR": str(folder / "cache")}
        return {**places, "WANDB_SILENT": "true", "WANDB_ERROR_REPORTING": "false"}

    @property
    def options(self) -> Mapping[str, Any]:
        """Nothing is recorded but what is logged."""
        import wandb

        run, is_online = self.run, self.run.settings.mode == "online"
        private = wandb.Settings(
            console="off",
            disable_code=True,
            disable_git=True,
            save_code=False,
            host="",
            silent=True,
            x_disable_meta=True,
            x_disable_stats=True,
            x_disable_machine_info=True,
            x_save_requirements=False,
        )
        return {
            "id": run.id,
            "resume": "allow" if is_online else None,
            "mode": run.settings.mode,
            "entity": run.settings.entity,
            "dir": str(run.folder),
            "group": run.group,
            "job_type": run.job_type,
            "name": run.name,
            "settings": private,
        }

    def open(self, accelerator: Accelerator) -> int:
        """Start the run, or go on with it on the server; offline, a new folder takes all epochs."""
        super().open(accelerator)
        next_step: int = accelerator.get_tracker(self.name, unwrap=True).step
        return max(0, next_step - 1)

    def log(self, accelerator: Accelerator, values: Mapping[str, float], epoch: int) -> None:
        """Hand over one epoch, as complete: otherwise wandb would keep it until the next."""
        accelerator.log(dict(values), step=epoch, log_kwargs={self.name: {"commit": True}})

    def add_results(self, accelerator: Accelerator, results: Results) -> None:
        """The best epoch into the summary; plots and table into the media."""
        tracker = accelerator.get_tracker(self.name)
        tracker.tracker.summary.update({f"best/{name}": value for name, value in results.best.items()})
        tracker.log_images({name: [str(path)] for name, path in results.images.items()}, commit=False)
        tracker.log_table("epochs", columns=results.columns, data=results.rows, commit=True)

    def end(self, accelerator: Accelerator, *, failed: bool) -> None:
        """Mark the run as finished or failed, and upload what is left."""
        accelerator.get_tracker(self.name, unwrap=True).finish(exit_code=int(failed))


class TensorBoardTracker(Tracker):
    """Event files for TensorBoard."""

    name = "tensorboard"
    module = "torch.utils.tensorboard"

    @property
    def options(self) -> Mapping[str, Any]:
        """What an earlier attempt wrote is replaced: all its epochs are written again."""
        return {"purge_step": 0}

    def add_results(self, accelerator: Accelerator, results: Results) -> None:
        """The best epoch as scalars, the plots as images, the table as text."""
        from matplotlib.image import imread

        super().add_results(accelerator, results)
        last = len(results.epochs)
        tracker = accelerator.get_tracker(self.name)
        for name, path in results.images.items():
            tracker.log_images({name: imread(path)[None, ..., :3]}, step=last, dataformats="NHWC")
        lines: list[Sequence[object]] = [results.columns, ["---"] * len(results.columns), *results.rows]
        tracker.log({"epochs": "\n".join(f"| {' | '.join(map(str, line))} |" for line in lines)}, step=last)


class MlflowTracker(Tracker):
    """MLflow: a server, or a folder beside the logs where none is named."""

    name = "mlflow"
    module = "mlflow"
    drawing = ("mlflow.utils.name_utils",)

    @property
    def environment(self) -> Mapping[str, str]:
        """A folder as store is what MLflow has to be asked for; no reports to the maker.

        No jitter between retries: urllib3 would take it from the generator that belongs to the training.
        """
        switches = {"MLFLOW_ALLOW_FILE_STORE": "true", "MLFLOW_DISABLE_TELEMETRY": "true"}
        return {**switches, "MLFLOW_HTTP_REQUEST_BACKOFF_JITTER": "0"}

    @cached_property
    def _earlier(self) -> Any:
        """The run that an earlier attempt began, or None."""
        import mlflow

        experiment = mlflow.get_experiment_by_name(self.run.project)
        if experiment is None:
            return None
        wanted = f"tags.`mlpipe.id` = '{self.run.id}'"
        return next(iter(mlflow.MlflowClient().search_runs([experiment.experiment_id], wanted)), None)

    @property
    def options(self) -> Mapping[str, Any]:
        """Where the run belongs, as tags."""
        tags = {"mlpipe.id": self.run.id, "group": self.run.group, "job_type": self.run.job_type}
        run_id = self._earlier.info.run_id if self._earlier else None
        return {"run_name": self.run.name, "tags": tags, "run_id": run_id}

    def open(self, accelerator: Accelerator) -> int:
        """Start the run, or go on with the one of an earlier attempt."""
        import mlflow

        mlflow.set_tracking_uri(self.run.settings.uri or self.run.folder.absolute().as_uri())
        super().open(accelerator)
        return int(self._earlier.data.metrics.get("epoch", 0)) if self._earlier else 0

    def add_results(self, accelerator: Accelerator, results: Results) -> None:
        """The best epoch as metrics, the plots and the table as artifacts."""
        import mlflow

        super().add_results(accelerator, results)
        accelerator.get_tracker(self.name).log_artifacts(str(results.plots), "plots")
        columns = zip(*results.rows, strict=True)
        mlflow.log_table(dict(zip(results.columns, map(list, columns), strict=True)), "epochs.json")

    def end(self, accelerator: Accelerator, *, failed: bool) -> None:
        """Mark the run as finished or failed."""
        import mlflow

        if failed:
            mlflow.end_run("FAILED")
        else:
            super().end(accelerator, failed=False)


TRACKERS: Mapping[str, type[Tracker]] = {each.name: each for each in (WandbTracker, TensorBoardTracker, MlflowTracker)}
"""The trackers by the name that the settings give them."""


def tracker_of(job: TrainingJob) -> Tracker | None:
    """The tracker that a job's settings ask for, if any; SettingsError where its package is not installed."""
    check_tracker(job.settings.tracking)
    kind = TRACKERS.get(job.settings.tracking.tracker)
    return kind(TrackedRun.of(job)) if kind else None


def _config(job: TrainingJob) -> dict[str, Scalar]:
    """What a tracker is told about how a model is trained: an allowlist, without [USER] and the environment."""
    own = job.hyperparameters.model_dump().items()
    free = job.settings.user_hyperparameters[job.model_name].items()
    return {
        "model": job.model_name,
        "seed": job.settings.experiment.seed,
        "snapshot": job.origin.snapshot,
        "labels": len(job.encoding.labels),
        **{f"hyperparameters/{key}": ", ".join(v) if isinstance(v, tuple) else v for key, v in own},
        **{f"user_hyperparameters/{key}": value for key, value in free},
        "versions/python": platform.python_version(),
        "versions/mlpipe": mlpipe.__version__,
        **{f"versions/{package}": version(package) for package in VERSIONED},
    }
