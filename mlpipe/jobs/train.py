"""The train step: one model, from a prepared snapshot to the content of models/<MODEL_NAME>/."""

from __future__ import annotations

import json

from mlpipe.errors import JobError
from mlpipe.jobs.environment import JobContext
from mlpipe.jobs.processes import local_process_count
from mlpipe.specs import Encoding, Origin
from mlpipe.training.job import TrainingJob
from mlpipe.training.loop import train_model


def run(context: JobContext) -> None:
    """Train the model that the job names and write it to the job's output."""
    if context.model_name is None:
        raise JobError("this training job names no model", hint="its arguments have to hold model_name")
    encoding_folder = context.channels["encoding"]
    document = json.loads((encoding_folder / "encoding.json").read_text(encoding="utf-8"))
    train_model(
        TrainingJob(
            model_name=context.model_name,
            encoding=Encoding.from_json(document),
            train=context.channels["train"],
            validation=context.channels["validation"],
            encoding_folder=encoding_folder,
            output=context.output,
            checkpoints=context.checkpoints,
            channels_sha256=context.channels_sha256,
            settings=context.settings,
            functions=context.functions,
            threads=max(1, context.threads // local_process_count()),
            origin=Origin(**context.arguments["origin"]),
            tracker_files=context.output_data,
            defers_export=context.defers_export,
        )
    )
