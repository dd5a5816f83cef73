"""From what is written to the settings of one experiment: precedence, defaults, and all problems at once."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from pydantic import TypeAdapter, ValidationError

from mlpipe.settings.checking import Group, by_group, check_headers, group_of, reason_of, sound_entries
from mlpipe.settings.entries import Entry, Source, environment_entries, option_entries
from mlpipe.settings.fields import ModelNames, is_list, scalar
from mlpipe.settings.problems import Problems
from mlpipe.settings.reading import Document, read_document
from mlpipe.settings.resolved import (
    Settings,
    hyperparameters_by_model,
    tunables_by_model,
    user_hyperparameters_by_model,
    user_values,
)
from mlpipe.settings.sagemaker import Sagemaker
from mlpipe.settings.schema import (
    S3,
    Data,
    Experiment,
    Hyperparameters,
    Inference,
    Local,
    Tracking,
    Training,
)
from mlpipe.settings.section import Section
from mlpipe.settings.tuning import Tuning
from mlpipe.specs import Scalar
from mlpipe.tuning.space import is_tunable, parse_tunable

S = TypeVar("S", bound=Section)
Groups = Mapping[Group, Sequence[Entry]]


def load_settings(path: Path, overrides: Sequence[str] = (), environment: Mapping[str, str] = os.environ) -> Settings:
    """Read a settings file and resolve it with its overrides.

    `overrides` are the texts of --set options, `section.key=value`, of which a later one wins. They beat the variables
    MLPIPE_<SECTION>__<KEY> of `environment`, these beat the file, and the file beats the defaults; within each of them
    the section of a model beats the one for all models. Sections and keys are found in any case; a key of [USER] or
    [USER_HYPERPARAMETERS] keeps the spelling of the file where it is in the file. References (${KEY}) are resolved
    within the file, before anything overrides it.

    Raises SettingsError that lists every problem: of the file by line, then of the environment, then of the options.
    """
    problems = Problems()
    document = read_document(path, problems)
    entries = [
        *document.entries,
        *environment_entries(environment, problems),
        *option_entries(overrides, problems),
    ]
    written = by_group(entries, problems)
    model_names = _model_names(written)
    check_headers(document.headers, model_names, problems)
    sound = {group: list(sound_entries(group, each, model_names, problems)) for group, each in written.items()}
    for section in (Experiment, Data, Training, Tuning, Inference, Local, Tracking, S3, Sagemaker):
        _check_section(section, document, written, sound, problems)
    problems.raise_if_any()
    return _settings(path.absolute(), sound)


def _model_names(written: Groups) -> tuple[str, ...] | None:
    """Every model that MODEL_NAMES names in any source, whatever else is wrong; None where one is missing or wrong.

    What the file says counts where an option overrides it too: `--set experiment.model_names=one` leaves the sections
    of the other models in place.
    """
    values = [entry.value for entry in written.get(("EXPERIMENT", ""), ()) if entry.key.lower() == "model_names"]
    try:
        lists = [TypeAdapter(ModelNames).validate_python(value) for value in values]
    except ValidationError:
        return None
    return tuple(dict.fromkeys(name for names in lists for name in names)) or None


def _check_section(
    section: type[Section], document: Document, written: Groups, sound: Groups, problems: Problems
) -> None:
    """Add a problem for each required key that is not written, and for sound values that contradict each other."""
    group = (section.__name__.upper(), "")
    entries = written.get(group, ())
    try:
        _section(section, sound)
    except ValidationError as error:
        for detail in error.errors(include_url=False):
            if detail["type"] == "missing":
                field = str(detail["loc"][0])
                if field not in [entry.key.lower() for entry in entries]:
                    _add_missing(section, field, document, problems)
            elif not detail["loc"]:
                clashing = [entry for entry in entries if entry.key.lower() in detail["ctx"]["fields"]]
                if all(entry in sound[group] for entry in clashing):
                    problems.add(clashing[-1].order, clashing[-1].problem(reason_of(section, detail)))


def _add_missing(section: type[Section], field: str, document: Document, problems: Problems) -> None:
    name = section.__name__.upper()
    example = (section.model_fields[field].examples or [""])[0]
    advice = f"{field.upper()} is missing: write {field.upper()} = {example}"
    header = next((header for header in document.headers if group_of(header.name) == (name, "")), None)
    if header:
        problems.add(header.order, f"{header.place}: {advice}")
    else:
        problems.add((Source.FILE, math.inf), f"{document.path}: {advice} in a section [{name}]")


def _by_precedence(sound: Groups, section: str, model_name: str = "") -> list[Entry]:
    """The entries of a section, and of one model's section of that name, the winning one of each key last."""
    models = (model_name.lower(),) if model_name else ()
    entries = [entry for model in ("", *models) for entry in sound.get((section, model), ())]
    return sorted(entries, key=lambda entry: entry.source)


def _section(section: type[S], sound: Groups, model_name: str = "") -> S:
    entries = _by_precedence(sound, section.__name__.upper(), model_name)
    return section.model_validate({entry.key.lower(): entry.value for entry in entries})


def _free_values(sound: Groups, section: str, model_name: str = "") -> dict[str, str]:
    """The values of a section that takes any key, each by the spelling in which its key came first."""
    spelling: dict[str, str] = {}
    values: dict[str, str] = {}
    for entry in _by_precedence(sound, section, model_name):
        values[spelling.setdefault(entry.key.lower(), entry.key)] = entry.value or ""
    return values


def _hyperparameters(sound: Groups, model_name: str) -> tuple[Hyperparameters, dict[str, Scalar], dict[str, str]]:
    """A model's hyperparameters, the user's own, and those of both that are to be tuned, as they are written.

    A tunable has its first value, or its lower end, where a single one is asked for.
    """
    entries = {entry.key.lower(): entry.value or "" for entry in _by_precedence(sound, "HYPERPARAMETERS", model_name)}
    free = _free_values(sound, "USER_HYPERPARAMETERS", model_name)
    own = {
        key: text
        for key, text in entries.items()
        if is_tunable(text) and not is_list(Hyperparameters.model_fields[key])
    }
    tunables = own | {key: text for key, text in free.items() if is_tunable(text)}
    first = {key: parse_tunable(text).first for key, text in tunables.items()}
    typed = Hyperparameters.model_validate({**entries, **{key: str(first[key]) for key in own}})
    return typed, {key: first[key] if key in tunables else scalar(text) for key, text in free.items()}, tunables


def _settings(path: Path, sound: Groups) -> Settings:
    experiment = _section(Experiment, sound)
    names = experiment.model_names
    found = {name: _hyperparameters(sound, name) for name in names}
    return Settings(
        root=path.parent,
        source=path,
        experiment=experiment,
        data=_section(Data, sound),
        training=_section(Training, sound),
        tuning=_section(Tuning, sound),
        inference=_section(Inference, sound),
        local=_section(Local, sound),
        tracking=_section(Tracking, sound),
        s3=_section(S3, sound),
        sagemaker=_section(Sagemaker, sound),
        hyperparameters=hyperparameters_by_model({name: found[name][0] for name in names}),
        user_hyperparameters=user_hyperparameters_by_model({name: found[name][1] for name in names}),
        tunables=tunables_by_model({name: found[name][2] for name in names}),
        user=user_values(_free_values(sound, "USER")),
    )
