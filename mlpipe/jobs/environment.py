"""What a job finds when it starts, turned into a `JobContext`.

The folders are those of `mlpipe.contract`. The channel `job` carries what mlpipe adds: the resolved settings, the
user's code, and job.json with the step's arguments and the files that each other channel must hold.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from mlpipe.contract import BASE_DIR_VARIABLE, DEFAULT_BASE_DIR, DEFERRAL_MARK, JOB_CHANNEL, TRIAL_MARK, ContractFolders
from mlpipe.errors import JobError, StorageError
from mlpipe.manifest import check_folder, digest, to_bytes
from mlpipe.settings import Settings
from mlpipe.specs import FileRecord, JobKind
from mlpipe.user_functions import UserFunctions


@dataclass(frozen=True)
class JobContext:
    """Everything that a step's code is given.

    `channels` maps names to folders whose files were checked, and `channels_sha256` is one number for those files;
    `output` is an empty folder for the results; `checkpoints` is where a training job finds what an earlier attempt
    left; `output_data` takes what is kept beside the model; `model_name` is set in training jobs; `arguments` are JSON
    values that the step's Task chose; `code` holds the user's `package`; with `defers_export` a training
    only leaves what its model can be exported from.
    """

    step: str
    settings: Settings
    code: Path
    package: str
    channels: Mapping[str, Path]
    channels_sha256: str
    output: Path
    checkpoints: Path
    output_data: Path
    model_name: str | None
    arguments: Mapping[str, Any]
    threads: int
    defers_export: bool = False

    @cached_property
    def functions(self) -> UserFunctions:
        """The user's functions, imported on first use: a step without them imports none of their libraries."""
        return UserFunctions.load(self.code, self.package)


@dataclass(frozen=True)
class Hosts:
    """The machines of a job, in order, and the place of this one among them.

    `interface` is the network interface by which they reach each other.
    """

    names: tuple[str, ...]
    index: int
    interface: str


def job_folders(arguments: list[str], environment: Mapping[str, str]) -> ContractFolders:
    """The folders of this job: `train` is how the platform calls a training job, anything else is a processing step."""
    base = Path(environment.get(BASE_DIR_VARIABLE, DEFAULT_BASE_DIR))
    return ContractFolders.of(JobKind.TRAINING if arguments == ["train"] else JobKind.PROCESSING, base)


def read_context(folders: ContractFolders, environment: Mapping[str, str], *, check: bool = True) -> JobContext:
    """Read the `job` channel and, unless `check` is off, check every other channel against it.

    A training job that is a trial of a tuning job has checkpoints of its own below the folder that all trials share.

    Raises IntegrityError where a file differs from what was committed.
    """
    channel = folders.inputs / JOB_CHANNEL
    job = _read_json(channel / "job.json")
    settings = Settings.from_json(_read_json(channel / "settings.resolved.json"))
    model_name = job["arguments"].get("model_name")
    checkpoints, wire = folders.checkpoints, {}
    if model_name:
        wire = _read_json(folders.base / "input" / "config" / "hyperparameters.json")
        settings = settings.with_hyperparameters(model_name, _own_hyperparameters(wire))
        checkpoints = checkpoints / _trial_name(environment) if TRIAL_MARK in wire else checkpoints
    channels = {name: folders.inputs / name for name in job["channels"]}
    for name, files in job["channels"].items() if check else ():
        check_folder(channels[name], {path: FileRecord(**record) for path, record in files.items()}, name)
    folders.output.mkdir(parents=True, exist_ok=True)
    return JobContext(
        step=job["step"],
        settings=settings,
        code=channel / "user_functions",
        package=job["package"],
        channels=channels,
        channels_sha256=digest(to_bytes(job["channels"])),
        output=folders.output,
        checkpoints=checkpoints,
        output_data=folders.output_data,
        model_name=model_name,
        arguments=job["arguments"],
        threads=job["threads"],
        defers_export=DEFERRAL_MARK in wire,
    )


def read_hosts(folders: ContractFolders) -> Hosts:
    """The machines of a training job, as the platform names them in resourceconfig.json."""
    document = _read_json(folders.base / "input" / "config" / "resourceconfig.json")
    names = tuple(sorted(document["hosts"]))
    return Hosts(names, names.index(document["current_host"]), document["network_interface_name"])


def sagemaker_variables(folders: ContractFolders, context: JobContext) -> dict[str, str]:
    """The SM_* variables that user code written for SageMaker looks for; the platform itself sets none of them."""
    variables = {
        "SM_MODEL_DIR": str(folders.base / "model"),
        "SM_OUTPUT_DATA_DIR": str(folders.output_data),
        "SM_CHANNELS": json.dumps(sorted(context.channels)),
    }
    return variables | {f"SM_CHANNEL_{name.upper()}": str(path) for name, path in context.channels.items()}


def _own_hyperparameters(wire: Mapping[str, str]) -> dict[str, str]:
    """The model's hyperparameters without those that a service or a tuner adds for itself."""
    marks = (TRIAL_MARK, DEFERRAL_MARK)
    return {name: text for name, text in wire.items() if not name.startswith("sagemaker_") and name not in marks}


def _trial_name(environment: Mapping[str, str]) -> str:
    """The name of this training job among those of its tuning job, which all have one folder for their checkpoints."""
    name = environment.get("TRAINING_JOB_NAME")
    if not name:
        raise JobError(
            f"a trial of a tuning job ({TRIAL_MARK} is among its hyperparameters) has no TRAINING_JOB_NAME",
            hint="the platform sets this variable; without it, the trials would go on from each other's checkpoints",
        )
    return name


def _read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_bytes())
    except FileNotFoundError as error:
        raise JobError(
            f"{path} is missing: this is not a job that mlpipe prepared",
            hint="jobs are started by a backend; `mlpipe run settings.ini` is the command to use",
        ) from error
    except (OSError, ValueError) as error:
        raise StorageError(f"{path} cannot be read: {error}") from error
