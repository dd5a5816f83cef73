"""The infer job: every model of a run on the same unseen test rows, each as its export says it can be run."""

from __future__ import annotations

import contextlib
import json
import logging
import shutil
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import torch

from mlpipe.batching import EncodedRows
from mlpipe.contract import YARDSTICK
from mlpipe.errors import DataError, JobError, MlpipeError
from mlpipe.inference.engine import ExportedModel
from mlpipe.inference.results import read_thresholds, write_results
from mlpipe.inference.timing import TimedPass, run_in_turns
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
    failures: dict[str, MlpipeError] = {}
    infer_models(context, encoding, failures)
    outcomes = [
        ModelOutcome(name, str(failures[name]), type(failures[name]).__name__)
        if name in failures
        else ModelOutcome(name)
        for name in context.arguments["model_names"]
    ]
    (context.output / "outcomes.json").write_bytes(to_bytes([asdict(outcome) for outcome in outcomes]))


def _measure_yardstick(context: JobContext, encoding: Encoding) -> None:
    """Write the yardstick's folder, where the job was given training rows for it."""
    text_column = context.settings.data.text_column
    if "train" not in context.channels or text_column is None:
        return
    folder, seed = context.output / YARDSTICK, context.settings.experiment.seed
    write_yardstick(folder, context.channels["train"], context.channels["test"], text_column, encoding, seed)
    write_manifest(folder)


def infer_models(context: JobContext, encoding: Encoding, failures: dict[str, MlpipeError]) -> None:
    """Run all models over the test rows, in turns, and write the results of each.

    What goes wrong with one is put into `failures` under its name, and what it had written is removed: DataError where
    there is no test row or the model has other labels than the rows, and what `predict_logits` raises.
    """
    passes: dict[str, TimedPass] = {}
    for name in context.arguments["model_names"]:
        with _kept(failures, name):
            passes[name] = _pass_of(context, encoding, name)
    run_in_turns(list(passes.values()))
    for name, each in passes.items():
        with _kept(failures, name):
            if each.error is not None:
                raise each.error
            _write(context, encoding, name, each, len(passes))
        if name in failures:
            shutil.rmtree(context.output / name, ignore_errors=True)


@contextlib.contextmanager
def _kept(failures: dict[str, MlpipeError], model_name: str) -> Iterator[None]:
    """Turns whatever goes wrong with a model into its failure."""
    try:
        yield
    except MlpipeError as error:
        failures[model_name] = error
        logger.exception("%s failed", model_name)
    except Exception as error:
        failures[model_name] = JobError(f"{type(error).__name__}: {error}")
        logger.exception("%s failed", model_name)


def _pass_of(context: JobContext, encoding: Encoding, model_name: str) -> TimedPass:
    folder = context.channels["models"] / model_name
    rows = EncodedRows.open(context.channels["test"], encoding, model_name)
    if not len(rows):
        raise DataError("the test split has no rows", hint="raise TEST_FRACTION, or give rows the split `test`")
    _check_labels(folder, encoding, model_name)
    logger.info("%s: %d test rows", model_name, len(rows))
    return TimedPass(ExportedModel.load(folder), rows, context.settings.inference.token_budget)


def _write(context: JobContext, encoding: Encoding, model_name: str, done: TimedPass, models: int) -> None:
    """The folder of a model's results; each is published by itself, so each has a manifest of its own."""
    timing = done.timing(models)
    statistics = write_results(
        context.output / model_name,
        done.rows,
        encoding.labels,
        done.logits,
        timing,
        resamples=context.settings.inference.bootstrap_resamples,
        seed=context.settings.experiment.seed,
        thresholds=read_thresholds(context.channels["models"] / model_name, encoding.task_type),
    )
    write_manifest(context.output / model_name)
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
