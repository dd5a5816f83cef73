"""How good the tuner is, what it costs, and what early stopping saves.

    .venv/bin/python benchmarks/tuning.py [--training]

Part 1, on a surface of learning rate, batch size, warm-up and dropout whose maximum is known: the regret after 30
trials, that is, the maximum less the best value found, the mean over 10 seeds. mlpipe runs its own loop with a backend
that answers at once, so that the seconds of a trial are all overhead; the others are Optuna's samplers, asked and told
in a bare loop. The ways take turns.

Part 2 (--training, about a quarter of an hour on two cores): examples/csv is tuned with and without early stopping,
over 5 seeds: the epochs that were trained, the best objective, and the seconds of the best trial beside its training
loop, where it was one that leaves the export for later.
"""

from __future__ import annotations

import argparse
import json
import math
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from statistics import fmean
from typing import NamedTuple

import optuna

from mlpipe.backends.base import JobState, JobStatus
from mlpipe.backends.local.tuner import LocalTuner
from mlpipe.contract import OBJECTIVE_MARK, default_regex
from mlpipe.specs import Channel, JobKind, JobSpec, TuningSpec
from mlpipe.storage import LocalStorage
from mlpipe.tuning.sampling import distribution_of
from mlpipe.tuning.space import parse_space

SPACE = {
    "learning_rate": "1e-5 -> 1e-2 log",
    "batch_size": "8, 16, 32, 64",
    "warmup_ratio": "0.0 -> 0.3",
    "dropout": "0.0 -> 0.5",
}
TRIALS, SEEDS = 30, 10
TRAINING_SEEDS = 5


class Tuned(NamedTuple):
    """What a tuning has trained and found, and the seconds of its best trial beside the training loop."""

    epochs: int
    best: float
    seconds_beside: float | None


def surface(values: Mapping[str, str]) -> float:
    """A score of at most 0.9: the best learning rate grows with the batch size, as it does in practice."""
    rate, batch = math.log10(float(values["learning_rate"])), math.log2(int(values["batch_size"]))
    best_rate = -3.4 + 0.15 * (batch - 4)
    loss = 0.06 * (rate - best_rate) ** 2 + 0.008 * (batch - 5) ** 2
    loss += 0.5 * (float(values["warmup_ratio"]) - 0.1) ** 2 + 0.4 * (float(values["dropout"]) - 0.15) ** 2
    return 0.9 - min(0.9, loss)


class InstantBackend:
    """Jobs that have ended with the surface's value when they are looked at."""

    def __init__(self, storage: LocalStorage) -> None:
        self._storage = storage
        self._jobs: dict[str, JobSpec] = {}

    def submit(self, spec: JobSpec) -> str:
        """Take a job for done."""
        self._jobs[spec.attempt] = spec
        self._storage.write(f"{spec.output}/model.pt", b"")
        self._storage.write(f"{spec.output}/manifest.json", b"{}")
        return spec.attempt

    def describe(self, handle: str) -> JobStatus:
        """Completed."""
        return JobStatus(JobState.COMPLETED, output=self._jobs[handle].output)

    def logs(self, handle: str, position: str) -> tuple[list[str], str]:
        """The line with the objective, once."""
        values = {name: str(value) for name, value in self._jobs[handle].hyperparameters.items()}
        return ([] if position else [f"{OBJECTIVE_MARK}f1={surface(values):.12f}"]), "1"

    def leave(self, handle: str) -> None:
        """Nothing runs."""

    def leave_all(self) -> str:
        """Nothing runs."""
        return ""


class Quiet:
    """Nobody who is told."""

    def note(self, text: str) -> None:
        """Nothing."""


def through_mlpipe(sampler: str, strategy: str = "Bayesian") -> Callable[[int], float]:
    """The best value that mlpipe's tuner finds."""

    def run(seed: int) -> float:
        spec = TuningSpec(
            "f1", True, default_regex("f1"), SPACE, strategy, sampler, TRIALS, 1, False, seed, None, 0, 0.0, 3
        )  # fmt: skip
        with tempfile.TemporaryDirectory() as folder:
            storage = LocalStorage(Path(folder))
            job = JobSpec(
                "tune-m", JobKind.TUNING, "train", "r/attempts/t", (Channel("job", "c"),), {}, {}, 1, 60, "r/l.log",
                tuning=spec,
            )  # fmt: skip
            trials = LocalTuner(InstantBackend(storage), storage, job, Quiet()).run()  # type: ignore[arg-type]
        return max(trial.objective or 0.0 for trial in trials)

    return run


def bare(make: Callable[[int], optuna.samplers.BaseSampler]) -> Callable[[int], float]:
    """The best value that a sampler finds in a bare loop."""
    distributions = {name: distribution_of(tunable) for name, tunable in parse_space(SPACE).items()}

    def run(seed: int) -> float:
        study = optuna.create_study(direction="maximize", sampler=make(seed))
        for _ in range(TRIALS):
            trial = study.ask(distributions)
            study.tell(trial, surface({name: str(value) for name, value in trial.params.items()}))
        return float(study.best_value)

    return run


def compare(seeds: int) -> None:
    """Print the table of part 1."""
    ways = {
        "random (Optuna)": bare(lambda seed: optuna.samplers.RandomSampler(seed=seed)),
        "TPE (Optuna)": bare(lambda seed: optuna.samplers.TPESampler(seed=seed, constant_liar=False)),
        "GP (Optuna)": bare(lambda seed: optuna.samplers.GPSampler(seed=seed)),
        "mlpipe, SAMPLER = tpe": through_mlpipe("tpe"),
        "mlpipe, SAMPLER = gp": through_mlpipe("gp"),
    }
    regrets: dict[str, list[float]] = {name: [] for name in ways}
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for seed in range(1, seeds + 1):
        for name, way in ways.items():
            begun = time.perf_counter()
            regrets[name].append(0.9 - way(seed))
            seconds[name].append((time.perf_counter() - begun) / TRIALS)
    print(f"{TRIALS} trials, mean over {seeds} seeds\n{'':26}{'regret':>10}{'ms a trial':>12}")
    for name in ways:
        print(f"{name:26}{fmean(regrets[name]):10.5f}{1000 * fmean(seconds[name]):12.1f}")


def tuned(seed: int, early_stopping: str) -> Tuned:
    """Tune examples/csv."""
    epochs = 10
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "csv"
        shutil.copytree(Path(__file__).parents[1] / "examples" / "csv", folder)
        overrides = {
            "hyperparameters.epochs": epochs,
            "hyperparameters.learning_rate": "1e-4 -> 0.3 log",
            "hyperparameters.batch_size": "8, 32",
            "tuning.max_jobs": 12,
            "tuning.seed": seed,
            "tuning.early_stopping": early_stopping,
            "training.threads": 1,
        }
        options = [f"--set={key}={value}" for key, value in overrides.items()]
        subprocess.run([sys.executable, "-m", "mlpipe", "tune", *options], cwd=folder, check=True, capture_output=True)
        (path,) = folder.glob("storage/*/runs/1/tuning/*/trials.jsonl")
        trials = [json.loads(line) for line in path.read_text().splitlines()]
        best = json.loads(path.with_name("best.json").read_text())
        (timing,) = folder.glob("storage/*/runs/1/models/*/timing.json")
        loop = json.loads(timing.read_text())["epochs"]
    trained = sum(min(epochs, len(trial["curve"])) for trial in trials)
    if best["trial"] == 1:  # it has shown that the model can be exported
        return Tuned(trained, best["objective"], None)
    (seconds,) = (trial["seconds"] for trial in trials if trial["number"] == best["trial"])
    looped = sum(epoch["train_seconds"] + epoch["validation_seconds"] for epoch in loop)
    return Tuned(trained, best["objective"], seconds - looped)


def compare_early_stopping(seeds: int) -> None:
    """Print the table of part 2."""
    found = {kind: [tuned(seed, kind) for seed in range(1, seeds + 1)] for kind in ("Off", "Auto")}
    print(f"\nexamples/csv, 12 trials of at most 10 epochs, mean over {seeds} seeds")
    print(f"{'EARLY_STOPPING':26}{'epochs':>10}{'best f1':>12}{'s beside the loop':>20}")
    for kind, results in found.items():
        beside = [result.seconds_beside for result in results if result.seconds_beside is not None]
        overhead = f"{fmean(beside):.2f} (n = {len(beside)})" if beside else "-"
        epochs, best = fmean(result.epochs for result in results), fmean(result.best for result in results)
        print(f"{kind:26}{epochs:10.1f}{best:12.4f}{overhead:>20}")


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--training", action="store_true", help="part 2, too")
    parser.add_argument("--quick", action="store_true", help="two seeds, to see that everything works")
    options = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    compare(2 if options.quick else SEEDS)
    if options.training:
        compare_early_stopping(1 if options.quick else TRAINING_SEEDS)


if __name__ == "__main__":
    main()
