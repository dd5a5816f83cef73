"""A published model at work: `mlpipe.load_model(uri).predict(rows)`.

What is loaded is what the run committed, file by file: the TorchScript module, the processor, the labels, and the run's
own copy of `encode`. Nothing is loaded before it was compared with its manifest.
"""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
import threading
import weakref
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlpipe.batching import EncodedRows
from mlpipe.catalog import settings_of
from mlpipe.errors import DataError, IntegrityError, StorageError, UsageError
from mlpipe.inference.engine import ExportedModel, predict_logits, sigmoid, softmax
from mlpipe.inference.results import above_thresholds, read_thresholds
from mlpipe.manifest import check_folder
from mlpipe.production import production_of
from mlpipe.runs import ExperimentTree, RunTree
from mlpipe.settings import Settings
from mlpipe.snapshots.encoding import ModelInputs
from mlpipe.specs import EncodedInput, InputSpec
from mlpipe.storage import LocalStorage, Storage
from mlpipe.storage.claims import is_run_committed
from mlpipe.storage.units import Unit, open_unit
from mlpipe.user_functions import UserFunctions

CHUNK = 1_000
"""Rows that are encoded at once: as many as a snapshot's."""

Row = Mapping[str, Any] | str


@dataclass(frozen=True)
class Predictor:
    """One published model; any number of threads may use it at once.

    `labels[i]` is the name of class i. `thresholds` is None of a model that gives each row one label.
    """

    run_num: int
    model_name: str
    labels: tuple[str, ...]
    model: ExportedModel = field(repr=False)
    processor: Any = field(repr=False)
    functions: UserFunctions = field(repr=False)
    settings: Settings = field(repr=False)
    thresholds: Mapping[str, float] | None = field(default=None, repr=False)
    _encoding: threading.Lock = field(default_factory=threading.Lock, repr=False)
    """A fast tokenizer refuses a second thread while it is at work."""

    def predict(self, rows: Sequence[Row]) -> list[tuple[str, float]] | list[list[tuple[str, float]]]:
        """The most probable label of each row, in their order, and its probability.

        Of a multi-label model, a list for each row: every label whose probability reaches its threshold, with that
        probability, the most probable first. A row is a mapping with the columns that `encode` reads, or a text where
        [DATA] TEXT_COLUMN is set. Raises DataError for rows that do not fit the model, naming the row by its
        position, and UserFunctionError where encode() fails.
        """
        probabilities = self.probabilities(rows)
        if self.thresholds is not None:
            return [self._labels_of(row) for row in probabilities]
        best = probabilities.argmax(axis=1)
        return [(self.labels[index], float(row[index])) for index, row in zip(best, probabilities, strict=True)]

    def _labels_of(self, probabilities: NDArray[np.float32]) -> list[tuple[str, float]]:
        predicted = above_thresholds(probabilities[None], self.labels, self.thresholds or {})[0]
        chosen = sorted(np.flatnonzero(predicted).tolist(), key=lambda at: (-probabilities[at], at))
        return [(self.labels[at], float(probabilities[at])) for at in chosen]

    def probabilities(self, rows: Sequence[Row]) -> NDArray[np.float32]:
        """The probability of every label for each row: (rows, labels); of a multi-label model, of each by itself."""
        if isinstance(rows, str | Mapping):
            raise DataError("a predictor takes a list of rows, and was given one row", hint="write predict([row])")
        if not rows:
            return np.empty((0, len(self.labels)), np.float32)
        encoded = self._encoded([self._columns(row, number) for number, row in enumerate(rows)])
        logits = predict_logits(self.model, encoded, self.settings.inference.token_budget)
        return softmax(logits) if self.thresholds is None else sigmoid(logits)

    def _columns(self, row: Row, number: int) -> Mapping[str, Any]:
        if isinstance(row, Mapping):
            return row
        if not isinstance(row, str):
            raise DataError(
                f"row {number} is a {type(row).__name__}", hint="a row is a mapping of columns to values, or a text"
            )
        column = self.settings.data.text_column
        if column is None:
            raise DataError(
                f"row {number} is a text, and the run's [DATA] TEXT_COLUMN does not say which column that is",
                hint="give each row as a mapping of the columns that encode() reads",
            )
        return {column: row}

    def _encoded(self, rows: Sequence[Mapping[str, Any]]) -> EncodedRows:
        for number, row in enumerate(rows):
            if row.keys() != rows[0].keys():
                raise DataError(
                    f"row {number} has the columns {', '.join(row)}, but the first row has {', '.join(rows[0])}"
                )
        ids = [str(number) for number in range(len(rows))]
        inputs, settings = ModelInputs(self.model_name), self.settings.for_data_functions()
        parts = []
        for start in range(0, len(rows), CHUNK):
            part = slice(start, start + CHUNK)
            examples = {name: [row[name] for row in rows[part]] for name in rows[0]}
            with self._encoding:
                encoded = self.functions.encode(examples, self.processor, self.model_name, settings, ids=ids[part])
            parts.append(inputs.add(encoded, ids[part]))
        described = {entry.name: _described(entry) for entry in self.model.signature.inputs}
        return EncodedRows.of_arrays(ids, parts, described)


@dataclass(frozen=True)
class _Place:
    """Where a model lies; `sha256` is that of its manifest, where production.json says it."""

    storage: Storage
    run: RunTree
    model_name: str
    sha256: str | None = None

    @classmethod
    def of(cls, uri: str) -> _Place:
        parts = uri.rstrip("/").split("/")
        if len(parts) >= 5 and parts[-4] == "runs" and parts[-2] == "models" and parts[-3].isdecimal():
            run = ExperimentTree(parts[-5]).run(int(parts[-3]))
            return cls(_storage_at(parts[:-5]), run, parts[-1])
        storage, tree = _storage_at(parts[:-1]), ExperimentTree(parts[-1])
        if storage.exists(tree.production):
            chosen = production_of(storage, tree)
            return cls(storage, tree.run(chosen.run_num), chosen.model_name, chosen.model_sha256)
        raise UsageError(
            f"{uri} is no published model, and no experiment with a model in production",
            hint="expected <STORAGE>/<EXPERIMENT_NAME>/runs/<run_num>/models/<MODEL_NAME>, which `mlpipe show N` "
            "prints, or <STORAGE>/<EXPERIMENT_NAME> after `mlpipe promote N --model M`",
        )


def _storage_at(parts: Sequence[str]) -> Storage:
    """The storage at a path or URI that was cut at its slashes; without any part, the current folder."""
    uri = "/".join(parts)
    if uri.startswith("s3://"):
        from mlpipe.storage.s3 import S3Storage  # needs boto3, which a folder does not

        return S3Storage(uri)
    return LocalStorage(Path(uri or ("/" if parts else ".")))


def load_model(uri: str | Path) -> Predictor:
    """The published model at `uri`.

    `<STORAGE>/<EXPERIMENT_NAME>/runs/<run_num>/models/<MODEL_NAME>` is that model, and `<STORAGE>/<EXPERIMENT_NAME>`
    the one that is in production. Raises UsageError for another path, StorageError where the run or the model is not
    committed, and IntegrityError where a file differs from its manifest.
    """
    place = _Place.of(str(uri))
    if not is_run_committed(place.storage, place.run):
        raise StorageError(
            f"run {place.run.run_num} at {place.storage.locate(place.run.root)} is not committed",
            hint="the command that made it ends it",
        )
    folder = Path(tempfile.mkdtemp(prefix="mlpipe-model-"))
    try:
        predictor = _load(place, folder)
    except BaseException:
        shutil.rmtree(folder)
        raise
    weakref.finalize(predictor, shutil.rmtree, folder, ignore_errors=True)
    return predictor


def _load(place: _Place, folder: Path) -> Predictor:
    storage, run, model_name = place.storage, place.run, place.model_name
    unit, model = open_unit(storage, run.model(model_name)), folder / "model"
    if place.sha256 not in (None, unit.sha256):
        raise IntegrityError(f"{storage.locate(unit.key)} is not the model that was put into production")
    storage.fetch(unit.key, model)
    check_folder(model, unit.files, storage.locate(unit.key))
    settings = settings_of(storage, run)
    functions = _functions(storage, run, folder / "code", Path(settings.experiment.user_functions).stem)
    id2label = json.loads((model / "id2label.json").read_bytes())
    exported = ExportedModel.load(model)
    return Predictor(
        run_num=run.run_num,
        model_name=model_name,
        labels=tuple(id2label[str(index)] for index in range(len(id2label))),
        model=exported,
        processor=_processor(model / "processor", functions, model_name, settings),
        functions=functions,
        settings=settings,
        thresholds=read_thresholds(model, exported.signature.task_type),
    )


def _functions(storage: Storage, tree: RunTree, folder: Path, package: str) -> UserFunctions:
    """The run's own copy of the user's functions, each file as its manifest vouches for it.

    UsageError where this process has imported another package of that name: what one of them imports later would
    be the other one's.
    """
    run, prefix = open_unit(storage, tree.root), "user_functions/"
    _check_package(run, prefix, package)
    for name in run.files:
        if name.startswith(prefix):
            target = folder / name.removeprefix(prefix)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(run.read(name))
    return UserFunctions.load(folder, package)


def _check_package(run: Unit, prefix: str, package: str) -> None:
    path = Path(getattr(sys.modules.get(package), "__file__", None) or "")
    if not path.is_file():  # never imported, or only by a predictor that is gone
        return
    name = f"{package}/__init__.py" if path.name == "__init__.py" else f"{package}.py"
    if f"{prefix}{name}" not in run.files or run.read(f"{prefix}{name}") != path.read_bytes():
        raise UsageError(
            f"this process has imported another package {package}, from {path}, and the two would mix",
            hint="load models whose USER_FUNCTIONS have one name in processes of their own",
        )


def _processor(folder: Path, functions: UserFunctions, model_name: str, settings: Settings) -> Any:
    """The processor that was stored with the model; the run's own code makes one that transformers cannot read."""
    is_tokenizer = (folder / "tokenizer_config.json").is_file()
    is_image_processor = (folder / "preprocessor_config.json").is_file()
    is_both = (folder / "processor_config.json").is_file() or (is_tokenizer and is_image_processor)
    if not (is_tokenizer or is_image_processor or is_both):
        return functions.load_processor(model_name, settings.for_data_functions())
    import transformers  # seconds, for models that have something to read

    loader: Any = transformers.AutoTokenizer if is_tokenizer else transformers.AutoImageProcessor
    return (transformers.AutoProcessor if is_both else loader).from_pretrained(folder)


def _described(entry: InputSpec) -> EncodedInput:
    return EncodedInput(entry.dtype, entry.ragged, entry.trailing_shape, None, None)
