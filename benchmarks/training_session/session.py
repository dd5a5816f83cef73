"""One session of the benchmark: every way takes its turn on every data set, and the tables."""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from pathlib import Path
from statistics import mean

import torch
from datasets import disable_progress_bars, load_from_disk
from transformers.utils import logging

from mlpipe.training.job import TrainingJob
from training_session import cases, ways
from user_functions.pretrained import encoder_folder

BASELINE = "HF Trainer, padding collator"


@dataclass(frozen=True)
class Way:
    """How to train a job, and the settings that the job has in this way only."""

    name: str
    train: Callable[[TrainingJob], ways.Outcome]
    overrides: tuple[str, ...] = ()


def run_session(arguments: argparse.Namespace) -> None:
    """Train everything, and print one table for each data set."""
    torch.set_num_threads(arguments.threads)
    disable_progress_bars()
    logging.set_verbosity_error()
    versions = ", ".join(f"{name} {version(name)}" for name in ("torch", "transformers", "accelerate"))
    print(
        f"{arguments.threads} threads, best of {arguments.rounds} rounds; Python {sys.version.split()[0]}, {versions}"
    )
    with tempfile.TemporaryDirectory() as folder:
        for case in _cases(arguments):
            _run_case(case, Path(folder) / case.name, arguments)


def _cases(arguments: argparse.Namespace) -> Iterator[cases.Case]:
    if arguments.only != "banking77":
        yield cases.documents(is_quick=arguments.quick)
    if arguments.only == "documents":
        return
    file = arguments.data / "train.csv"
    if not file.is_file():
        print(f"\nbanking77 is left out: there is no {file}; --data names its folder")
        return
    try:
        encoder = encoder_folder()
    except RuntimeError as error:
        print(f"\nbanking77 is left out: {error}")
        return
    yield cases.banking77(file, encoder, is_quick=arguments.quick)


def _run_case(case: cases.Case, folder: Path, arguments: argparse.Namespace) -> None:
    cases.prepare(case, folder, arguments.threads)
    compared = _ways(arguments)
    outcomes: dict[str, list[ways.Outcome]] = {way.name: [] for way in compared}
    for number in range(1, arguments.rounds + 1):
        for way in compared:
            seed = f"experiment.seed={number}"
            job = cases.training_job(case, folder, arguments.threads, [seed, *way.overrides])
            outcomes[way.name].append(way.train(job))
    chosen = job.hyperparameters
    train, validation = (load_from_disk(str(split)).num_rows for split in (job.train, job.validation))
    print(f"\n{case.title}")
    print(
        f"{train} training and {validation} validation rows, {chosen.epochs} epochs, batch {chosen.batch_size}, "
        f"learning rate {chosen.learning_rate:g}"
    )
    _print_table(outcomes)


def _ways(arguments: argparse.Namespace) -> list[Way]:
    found = [
        Way(BASELINE, partial(ways.with_trainer, sampling="random")),
        Way("HF Trainer, group_by_length", partial(ways.with_trainer, sampling="group_by_length")),
        Way("plain loop, padded to the maximum", ways.with_padding_to_the_maximum),
        Way("mlpipe", ways.with_mlpipe),
    ]
    if arguments.bf16:
        found.append(Way("mlpipe, MIXED_PRECISION = bf16", ways.with_mlpipe, ("training.mixed_precision=bf16",)))
    if arguments.compile:
        found.append(Way("mlpipe, COMPILE = yes", ways.with_mlpipe, ("training.compile=yes",)))
    return found


def _print_table(outcomes: dict[str, list[ways.Outcome]]) -> None:
    best = {name: max(outcome.rows_per_second for outcome in found) for name, found in outcomes.items()}
    print(f"{'':36}rows/s   ratio   macro F1")
    for name, found in outcomes.items():
        f1 = mean(outcome.macro_f1 for outcome in found)
        print(f"{name:36}{best[name]:6.0f}   {best[name] / best[BASELINE]:5.2f}   {f1:8.3f}")
