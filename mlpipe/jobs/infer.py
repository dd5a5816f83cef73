"""The infer job: every model of a run on the same unseen test rows, each as its export says it can be run."""

from __future__ import annotations

import json
import logging
import shutil
from dataclasses import asdict
from pathlib import Path

import torch

from mlpipe.batching import EncodedRows
from mlpipe.contract import YARDSTICK
from mlpipe.errors import DataError, JobError, MlpipeError
from mlpipe.inference.engine import ExportedModel
from mlpipe.inference.results import write_results
from mlpipe.inference.timing import timed_predict
from mlpipe.inference.yardstick import write_yardstick
from mlpipe.jobs.environment import JobContext
from mlpipe.manifest import to_bytes, write_manifest
from mlpipe.specs import Encoding, ModelOutcome

logger = logging.getLogger(__name__)


def run(context: JobContext) -> None:
    """Write the results of every model in `model_names` to a folder of its name, and outcomes.json.

    A model that fails leaves the others to run, and no folder: outcomes.json has its error. Where there is a channel
    `train`, the linear model on words is trained on its rows and measured on the same test rows.
    """
    torch.set_num_threads(context.threads)
    encoding = Encoding.from_json(json.loads((context.channels["encoding"] / "encoding.json").read_bytes()))
    _measure_yardstick(context, encoding)
    outcomes = [_outcome(context, encoding, model_name) for model_name in context.arguments["model_names"]]
    (context.output / "outcomes.json").write_bytes(to_bytes([asdict(outcome) for outcome in outcomes]))


def _measure_yardstick(context: JobContext, encoding: Encoding) -> None:
    """Write the yardstick's folder, where the job was given training rows for it."""
    text_column = context.settings.data.text_column
    if "train" not in context.channels or text_column is None:
        return
    folder, seed = context.output / YARDSTICK, context.settings.experiment.seed
    write_yardstick(folder, context.channels["train"], context.channels["test"], text_column, encoding.labels, seed)
    write_manifest(folder)


def _outcome(context: JobContext, encoding: Encoding, model_name: str) -> ModelOutcome:
    """Infer one model; whatever goes wrong with it becomes its outcome, and what it had written is removed."""
    try:
        infer_model(context, encoding, model_name)
        # Each model's folder is published by itself, so each has a manifest of its own.
        write_manifest(context.output / model_name)
    except MlpipeError as error:
        failure = error
        logger.exception("%s failed", model_name)
    except Exception as error:
        failure = JobError(f"{type(error).__name__}: {error}")
        logger.exception("%s failed", model_name)
    else:
        return ModelOutcome(model_name)
    shutil.rmtree(context.output / model_name, ignore_errors=True)
    return ModelOutcome(model_name, str(failure), type(failure).__name__)


def infer_model(context: JobContext, encoding: Encoding, model_name: str) -> None:
    """Run one model over the test rows and write its results.

    Raises DataError where there is no test row or the model has other labels than the rows, and what
    `timed_predict` raises.
    """
    inference, folder = context.settings.inference, context.channels["models"] / model_name
    rows = EncodedRows.open(context.channels["test"], encoding, model_name)
    if not len(rows):
        raise DataError("the test split has no rows", hint="raise TEST_FRACTION, or give rows the split `test`")
    _check_labels(folder, encoding, model_name)
    model = ExportedModel.load(folder)
    logger.info("%s: %d test rows", model_name, len(rows))
    logits, timing = timed_predict(model, rows, inference.token_budget)
    statistics = write_results(
        context.output / model_name,
        rows,
        encoding.labels,
        logits,
        timing,
        resamples=inference.bootstrap_resamples,
        seed=context.settings.experiment.seed,
    )
    logger.info(
        "%s: accuracy %.4f, macro F1 %.4f, %.0f rows/s",
        *(model_name, statistics.accuracy.value, statistics.macro_f1.value, timing.samples_per_second),
    )


def _check_labels(folder: Path, encoding: Encoding, model_name: str) -> None:
    """Class 3 of the model must be class 3 of the rows, or every score would be wrong without an error."""
    id2label = json.loads((folder / "id2label.json").read_bytes())
    expected = {str(index): label for index, label in enumerate(encoding.labels)}
    if id2label != expected:
        differing = sorted(set(id2label.values()) ^ set(expected.values()))
        what = f"they differ in {', '.join(differing[:5])}" if differing else "they are in another order"
        raise DataError(
            f"{model_name} was trained on other labels than the test rows have: {what}",
            hint="infer a run on the snapshot that it was trained on",
        )
