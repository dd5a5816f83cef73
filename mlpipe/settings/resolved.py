"""The settings of one experiment as everything else reads them: typed, complete and unchanging."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Generic, TypeVar

from mlpipe.errors import SettingsError
from mlpipe.settings.sagemaker import Sagemaker
from mlpipe.settings.schema import S3, Data, Experiment, Hyperparameters, Inference, Local, Tracking, Training
from mlpipe.settings.tuning import Tuning
from mlpipe.specs import Scalar
from mlpipe.tuning.space import Space, parse_space

T = TypeVar("T")


class NamedValues(Mapping[str, T], Generic[T]):
    """A read-only mapping whose keys are found in any case and keep the spelling in which they were written.

    A missing key raises a KeyError that says where it was looked for and lists the keys that there are.
    """

    def __init__(self, place: str, values: Mapping[str, T]) -> None:
        self._place = place
        self._values = dict(values)
        self._spelling = {name.lower(): name for name in self._values}

    def __getitem__(self, name: str) -> T:
        try:
            return self._values[self._spelling[name.lower()]]
        except KeyError:
            there_are = ", ".join(self._values) or "none"
            raise KeyError(f"{self._place} has no {name!r}; it has: {there_are}") from None

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and name.lower() in self._spelling

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._place!r}, {self._values!r})"


@dataclass(frozen=True)
class DataFunctionSettings:
    """What reconcile, load_processor and encode are given: all the settings that a snapshot can depend on."""

    seed: int
    data: Data
    user: Mapping[str, str]
    """[USER]: text by key, found in any case."""

    def to_json(self) -> dict[str, Any]:
        """These settings as a JSON document; equal settings give equal documents."""
        return {"seed": self.seed, "data": self.data.model_dump(mode="json"), "user": dict(self.user)}


@dataclass(frozen=True)
class ModelFunctionSettings(DataFunctionSettings):
    """What load_model and ordered_input_keys are given: also the hyperparameters of their model."""

    hyperparameters: Hyperparameters
    user_hyperparameters: Mapping[str, Scalar]
    """[USER_HYPERPARAMETERS]: typed values by key, found in any case."""

    def to_json(self) -> dict[str, Any]:
        """These settings as a JSON document; equal settings give equal documents."""
        return {
            **super().to_json(),
            "hyperparameters": self.hyperparameters.model_dump(mode="json"),
            "user_hyperparameters": dict(self.user_hyperparameters),
        }


@dataclass(frozen=True)
class Settings:
    """Everything that the settings of one experiment say, with every default filled in."""

    root: Path
    """The folder of the settings file, absolute; relative paths in the settings are relative to it."""
    source: Path
    """The settings file, absolute."""
    experiment: Experiment
    data: Data
    training: Training
    tuning: Tuning
    inference: Inference
    local: Local
    tracking: Tracking
    s3: S3
    sagemaker: Sagemaker
    hyperparameters: Mapping[str, Hyperparameters]
    """By model name."""
    user_hyperparameters: Mapping[str, Mapping[str, Scalar]]
    """By model name, then by key, found in any case."""
    user: Mapping[str, str]
    """[USER]: text by key, found in any case."""
    tunables: Mapping[str, Mapping[str, str]]
    """By model name, then by hyperparameter: what is to be tuned, as it is written."""

    def path(self, text: str) -> Path:
        """The absolute path that a path in the settings means: relative to `root`, `~` being the home folder.

        Raises SettingsError where there is no such home folder.
        """
        try:
            return self.root / Path(text).expanduser()
        except RuntimeError as error:
            raise SettingsError(f"{text!r}: {error}", hint="Write the whole path.") from error

    def space(self, model_name: str) -> Space:
        """What is to be tuned of a model; empty where nothing is. KeyError unless in MODEL_NAMES."""
        return parse_space(self.tunables[model_name])

    def tuned(self, model_name: str, wire: Mapping[str, str]) -> Settings:
        """These settings with one model's hyperparameters as given, and nothing of it left to be tuned."""
        given = self.with_hyperparameters(model_name, wire)
        return replace(given, tunables=tunables_by_model({**self.tunables, model_name: {}}))

    @property
    def limits(self) -> Local | Sagemaker:
        """The section that limits the jobs of the backend: MAX_PARALLEL_JOBS and MAX_RUNTIME."""
        return self.sagemaker if self.experiment.backend == "sagemaker" else self.local

    @property
    def maximizes_objective(self) -> bool:
        """Whether a higher value of the objective metric is better."""
        if self.tuning.objective_type == "auto":
            return self.training.objective_metric_name != "log_loss"
        return self.tuning.objective_type == "Maximize"

    def for_data_functions(self) -> DataFunctionSettings:
        """The settings that reconcile, load_processor and encode are given."""
        return DataFunctionSettings(seed=self.experiment.seed, data=self.data, user=self.user)

    def for_model_functions(self, model_name: str) -> ModelFunctionSettings:
        """The settings that load_model and ordered_input_keys are given for a model; KeyError unless in MODEL_NAMES."""
        return ModelFunctionSettings(
            seed=self.experiment.seed,
            data=self.data,
            user=self.user,
            hyperparameters=self.hyperparameters[model_name],
            user_hyperparameters=self.user_hyperparameters[model_name],
        )

    def with_hyperparameters(self, model_name: str, wire: Mapping[str, str]) -> Settings:
        """These settings with one model's hyperparameters as a job was given them: as text, by their names.

        Each value is read by the type of the one that it replaces, never guessed. Raises SettingsError for a name that
        these settings do not have and for a value of another type.
        """
        own, free = self.hyperparameters[model_name].model_dump(), dict(self.user_hyperparameters[model_name])
        for name, text in wire.items():
            if name in own:
                own[name] = text
            elif name in free:
                free[name] = _parsed(name, text, type(free[name]))
            else:
                raise SettingsError(f"hyperparameter {name} = {text}: model {model_name} has no such hyperparameter")
        try:
            typed = Hyperparameters.model_validate(own)
        except ValueError as error:
            raise SettingsError(f"the hyperparameters of model {model_name} cannot be used: {error}") from error
        return replace(
            self,
            hyperparameters=hyperparameters_by_model({**self.hyperparameters, model_name: typed}),
            user_hyperparameters=user_hyperparameters_by_model({**self.user_hyperparameters, model_name: free}),
        )

    def to_json(self) -> dict[str, Any]:
        """The content of settings.resolved.json."""
        return {
            "root": str(self.root),
            "source": str(self.source),
            "experiment": self.experiment.model_dump(mode="json"),
            "data": self.data.model_dump(mode="json"),
            "training": self.training.model_dump(mode="json"),
            "tuning": self.tuning.model_dump(mode="json"),
            "inference": self.inference.model_dump(mode="json"),
            "local": self.local.model_dump(mode="json"),
            "tracking": self.tracking.model_dump(mode="json"),
            "s3": self.s3.model_dump(mode="json"),
            "sagemaker": self.sagemaker.model_dump(mode="json"),
            "hyperparameters": {name: model.model_dump(mode="json") for name, model in self.hyperparameters.items()},
            "user_hyperparameters": {name: dict(values) for name, values in self.user_hyperparameters.items()},
            "user": dict(self.user),
            "tunables": {name: dict(texts) for name, texts in self.tunables.items()},
        }

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Settings:
        """Read what `to_json` wrote, in older versions too; raises SettingsError for any other document."""
        try:
            return cls(
                root=Path(document["root"]),
                source=Path(document["source"]),
                experiment=Experiment.model_validate(document["experiment"]),
                data=Data.model_validate(document["data"]),
                training=Training.model_validate(document["training"]),
                tuning=Tuning.model_validate(document["tuning"]),
                inference=Inference.model_validate(document["inference"]),
                local=Local.model_validate(document["local"]),
                tracking=Tracking.model_validate(document.get("tracking", {})),
                s3=S3.model_validate(document.get("s3", {})),
                sagemaker=Sagemaker.model_validate(document.get("sagemaker", {})),
                hyperparameters=hyperparameters_by_model(
                    {name: Hyperparameters.model_validate(each) for name, each in document["hyperparameters"].items()}
                ),
                user_hyperparameters=user_hyperparameters_by_model(document["user_hyperparameters"]),
                user=user_values(document["user"]),
                tunables=tunables_by_model(
                    {name: document.get("tunables", {}).get(name, {}) for name in document["hyperparameters"]}
                ),
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise SettingsError(f"these are no resolved settings: {type(error).__name__}: {error}") from error

    def fingerprint_document(self) -> dict[str, Any]:
        """What makes two experiments the same one, as a JSON document.

        Everything but where files are (the settings file, STORAGE, [S3]), which run it is (RUN_NUM), how often a
        training is saved (CHECKPOINT_MINUTES), on which machines jobs run ([SAGEMAKER]), [LOCAL], which only limits
        them, and [TRACKING], which only shows them.
        """
        document = self.to_json()
        for key in ("root", "source", "local", "tracking", "s3", "sagemaker"):
            del document[key]
        for key in ("storage", "run_num"):
            del document["experiment"][key]
        del document["training"]["checkpoint_minutes"]
        return document


def _parsed(name: str, text: str, kind: type[Scalar]) -> Scalar:
    """A wire value as the type of the hyperparameter that it is for."""
    try:
        if kind is bool:
            return {"true": True, "false": False}[text.lower()]
        return kind(text)
    except (KeyError, ValueError) as error:
        raise SettingsError(f"hyperparameter {name} = {text}: expected a value of type {kind.__name__}") from error


def hyperparameters_by_model(values: Mapping[str, Hyperparameters]) -> NamedValues[Hyperparameters]:
    """`Settings.hyperparameters` from plain mappings."""
    return NamedValues("MODEL_NAMES", values)


def user_hyperparameters_by_model(values: Mapping[str, Mapping[str, Scalar]]) -> NamedValues[NamedValues[Scalar]]:
    """`Settings.user_hyperparameters` from plain mappings."""
    place = "[USER_HYPERPARAMETERS]"
    return NamedValues("MODEL_NAMES", {model: NamedValues(place, each) for model, each in values.items()})


def tunables_by_model(values: Mapping[str, Mapping[str, str]]) -> NamedValues[Mapping[str, str]]:
    """`Settings.tunables` from plain mappings."""
    return NamedValues("MODEL_NAMES", values)


def user_values(values: Mapping[str, str]) -> NamedValues[str]:
    """`Settings.user` from a plain mapping."""
    return NamedValues("[USER]", values)
