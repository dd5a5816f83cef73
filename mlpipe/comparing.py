"""Models of one or several runs on the same test rows, from what inference has published. Nothing here writes."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlpipe.catalog import find_run, prepared_of, settings_of
from mlpipe.costs import cost_usd, seconds_of, training_jobs
from mlpipe.errors import IntegrityError, UsageError
from mlpipe.evaluation.calibration import calibration
from mlpipe.evaluation.comparison import Comparison, compare
from mlpipe.evaluation.yardsticks import Yardstick, measure, verdict
from mlpipe.runs import ExperimentTree, RunTree
from mlpipe.settings import Settings
from mlpipe.storage import Storage
from mlpipe.storage.claims import is_run_committed
from mlpipe.storage.units import Unit, is_committed, open_unit

MAJORITY, WORDS = "the majority class", "the linear model on words"


@dataclass(frozen=True)
class Contestant:
    """A model in a comparison: the name that it has there, and where its results are."""

    name: str
    run: RunTree
    model_name: str


@dataclass(frozen=True)
class RunComparison:
    """Models of finished runs side by side: a line for each, best first, and what may be said of them."""

    test_sha256: str
    models: tuple[Mapping[str, Any], ...]
    comparison: Comparison
    yardsticks: Mapping[int, Mapping[str, Any]]
    """Those of every run that has any: each was trained on the rows that its run was trained on."""

    def to_json(self) -> dict[str, Any]:
        """What `mlpipe compare --json` prints."""
        document = {"test_sha256": self.test_sha256, "models": list(self.models), **self.comparison.to_json()}
        document["yardsticks"] = {str(number): each for number, each in self.yardsticks.items()}
        verdicts = [f"Run {number}: {each['verdict']}" for number, each in self.yardsticks.items()]
        return {**document, "conclusion": " ".join([self.comparison.conclusion, *verdicts])}


def compare_models(storage: Storage, contestants: Sequence[Contestant], *, seed: int, resamples: int) -> Comparison:
    """Compare models, best first, by their predictions of the same rows; IntegrityError where the rows differ."""
    tables = {each.name: _predictions(open_unit(storage, each.run.inference(each.model_name))) for each in contestants}
    first = next(iter(tables.values()))
    for name, (ids, truth, _) in tables.items():
        if ids.tolist() != first[0].tolist() or truth.tolist() != first[1].tolist():
            raise IntegrityError(f"the test rows of {name} are not those of {contestants[0].name}")
    labels, (truth, *found) = _encoded([first[1], *(table[2] for table in tables.values())])
    predictions = dict(zip(tables, found, strict=True))
    return compare(truth, predictions, labels, seed=seed, resamples=resamples, ids=first[0].tolist())


def _encoded(columns: Sequence[NDArray[Any]]) -> tuple[list[str], list[NDArray[np.int64]]]:
    """The labels of these columns (n,), sorted, and the columns as indices of them.

    Of multi-label data, whose cells are tuples of names, each column is 1 or 0 for every row and label, (n, labels).
    """
    is_multi_label = isinstance(columns[0][0], tuple)
    cells = [column.tolist() for column in columns]
    labels = sorted({name for column in cells for cell in column for name in (cell if is_multi_label else [cell])})
    number = {name: at for at, name in enumerate(labels)}
    if not is_multi_label:
        return labels, [np.array([number[cell] for cell in column], dtype=np.int64) for column in cells]
    indicators = [np.zeros((len(column), len(labels)), dtype=np.int64) for column in cells]
    for matrix, column in zip(indicators, cells, strict=True):
        for row, cell in enumerate(column):
            matrix[row, [number[name] for name in cell]] = 1
    return labels, indicators


def measure_yardsticks(
    storage: Storage, run: RunTree, model_names: Sequence[str], majority: str | tuple[str, ...], settings: Settings
) -> dict[str, Any]:
    """How the models of a run do against the label (or labels) `majority`, and, where there are texts, the linear model
    on words.

    `skipped` says why a yardstick is missing that the settings ask for.
    """
    tables = {name: _predictions(open_unit(storage, run.inference(name))) for name in model_names}
    ids, truth, _ = next(iter(tables.values()))
    predicted = {MAJORITY: _column([majority] * len(truth))}
    skipped = {}
    if settings.data.text_column is not None:
        by_words = _words_predictions(storage, run, ids)
        if isinstance(by_words, str):
            skipped[WORDS] = by_words
        else:
            predicted[WORDS] = by_words
    columns = [truth, *predicted.values(), *(table[2] for table in tables.values())]
    labels, (true, *found) = _encoded(columns)
    models = dict(zip(tables, found[len(predicted) :], strict=True))
    measured: list[Yardstick] = [
        measure(
            name,
            true,
            found[at],
            models,
            len(labels),
            seed=settings.experiment.seed,
            resamples=settings.inference.bootstrap_resamples,
        )
        for at, name in enumerate(predicted)
    ]
    return {"measured": [asdict(each) for each in measured], "skipped": skipped, "verdict": verdict(measured)}


def _words_predictions(storage: Storage, run: RunTree, ids: NDArray[Any]) -> NDArray[Any] | str:
    """The predictions of the linear model on words for the rows `ids`, or why there are none."""
    if not is_committed(storage, run.yardstick):
        return "the job that was to train it left no result; the run's logs say why"
    unit = open_unit(storage, run.yardstick)
    if error := unit.read_json("yardstick.json")["error"]:
        return str(error)
    own_ids, _, predicted = _predictions(unit)
    if own_ids.tolist() != ids.tolist():
        raise IntegrityError(f"the test rows of {storage.locate(unit.key)} are not those of the models")
    return predicted


def calibration_of(inference: Unit) -> dict[str, Any]:
    """The calibration of a model on its test rows; of multi-label data, on the decision of every row and label."""
    table = _table(inference)
    names = [name for name in table.column_names if name.startswith("probability_")]
    probabilities = np.column_stack([table[name].to_numpy() for name in names])
    truth, predicted = (_column(table[name].to_pylist()) for name in ("truth", "prediction"))
    if not isinstance(truth[0], tuple):
        return asdict(calibration(probabilities.max(axis=1), truth == predicted))
    labels = [name.removeprefix("probability_") for name in names]
    true, found = (np.array([[label in cell for label in labels] for cell in column]) for column in (truth, predicted))
    return asdict(calibration(np.where(found, probabilities, 1 - probabilities).ravel(), (true == found).ravel()))


def compare_runs(storage: Storage, tree: ExperimentTree, run_nums: Sequence[int]) -> RunComparison:
    """Compare every model of committed runs.

    Raises UsageError for a run that does not exist or is not committed, and where runs were tested on different rows,
    with the first thing that makes them so.
    """
    runs = [find_run(storage, tree, number) for number in dict.fromkeys(run_nums)]
    for run in runs:
        if not is_run_committed(storage, run):
            raise UsageError(f"run {run.run_num} is not committed", hint=f"`mlpipe resume {run.run_num}` completes it")
    documents = {run.run_num: open_unit(storage, run.root).read_json("comparison.json") for run in runs}
    for run in runs[1:]:
        if documents[run.run_num]["test_sha256"] != documents[runs[0].run_num]["test_sha256"]:
            raise UsageError(
                f"runs {runs[0].run_num} and {run.run_num} were tested on different rows: "
                f"{_first_difference(storage, tree, runs[0], run)}",
                hint="only models that were measured on the same rows can be compared",
            )
    found = [
        (Contestant(f"{entry['model_name']}@{run.run_num}", run, entry["model_name"]), entry)
        for run in runs
        for entry in documents[run.run_num]["models"]
    ]
    found.sort(key=lambda item: (-item[1]["macro_f1"]["value"], item[0].name))
    settings = settings_of(storage, runs[0])
    comparison = compare_models(
        storage,
        [contestant for contestant, _ in found],
        seed=settings.experiment.seed,
        resamples=settings.inference.bootstrap_resamples,
    )
    lines = tuple(_line(storage, contestant, entry) for contestant, entry in found)
    yardsticks = {number: each["yardsticks"] for number, each in documents.items() if "yardsticks" in each}
    return RunComparison(documents[runs[0].run_num]["test_sha256"], lines, comparison, yardsticks)


def _line(storage: Storage, contestant: Contestant, entry: Mapping[str, Any]) -> dict[str, Any]:
    """One model: its scores, how fast it is, how large, and what its training took."""
    run, name = contestant.run, contestant.model_name
    timing = open_unit(storage, run.inference(name)).read_json("timing.json")
    model = open_unit(storage, run.model(name))
    jobs = training_jobs(open_unit(storage, run.root).read_json("run.json")["jobs"], name)
    return {
        **entry,
        "name": contestant.name,
        "run_num": run.run_num,
        "samples_per_second": timing["samples_per_second"],
        "latency_p99_ms": timing["latency_p99_ms"],
        "parameters": model.read_json("metrics.json").get("parameters"),
        "model_bytes": model.files["model.pt"].size,
        "training_seconds": seconds_of(jobs),
        "training_usd": cost_usd(jobs, settings_of(storage, run).sagemaker),
    }


def _table(inference: Unit) -> Any:
    import pyarrow.parquet as pq  # a tenth of a second

    return pq.read_table(io.BytesIO(inference.read("predictions.parquet")))


def _predictions(inference: Unit) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    """Ids, true labels and predicted labels, in the order of the ids; several labels of a row are a tuple."""
    table = _table(inference)
    ids, truth, predicted = (_column(table[name].to_pylist()) for name in ("id", "truth", "prediction"))
    order = np.argsort(ids)
    return ids[order], truth[order], predicted[order]


def _column(cells: Sequence[Any]) -> NDArray[Any]:
    """Cells (n,) as they are, lists as tuples: numpy would make a table of lists of one length."""
    return np.fromiter((tuple(cell) if isinstance(cell, list) else cell for cell in cells), object, len(cells))


def _first_difference(storage: Storage, tree: ExperimentTree, one: RunTree, other: RunTree) -> str:
    """What makes the test rows of two runs different: a setting of the data, or the rows themselves."""
    first, second = (_data_settings(settings_of(storage, run)) for run in (one, other))
    for name, value in first.items():
        if second.get(name) != value:
            return f"{name} is {value} in run {one.run_num} and {second.get(name)} in run {other.run_num}"
    prepared = [prepared_of(storage, tree, run) for run in (one, other)]
    counts = [unit.read_json("data_card.json")["rows"] for unit in prepared]
    addresses = [unit.key.rpartition("/")[2] for unit in prepared]
    return f"their rows were collected anew: snapshot {addresses[0]} has {counts[0]}, and {addresses[1]} {counts[1]}"


def _data_settings(settings: Settings) -> dict[str, Any]:
    given = settings.for_data_functions().to_json()
    named = {f"[DATA] {key.upper()}": value for key, value in given["data"].items()}
    return {"SEED": given["seed"], **named, **{f"[USER] {key}": value for key, value in given["user"].items()}}
