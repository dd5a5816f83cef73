"""Checks of single entries: does the section exist, the model, the key, and can the value be what the key asks for."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from mlpipe.settings.entries import Entry, Source
from mlpipe.settings.fields import expectation, is_list, scalar
from mlpipe.settings.problems import Problems, nearest, shown
from mlpipe.settings.reading import Header
from mlpipe.settings.schema import PER_MODEL_SECTIONS, SECTION_MODELS, SECTION_NAMES, Hyperparameters
from mlpipe.settings.section import Section
from mlpipe.tuning.space import is_tunable, parse_tunable

Group = tuple[str, str]
"""A section and, in lower case, the model that it is for; "" where it is for all models."""


def group_of(section: str) -> Group | None:
    """The group that a section's name stands for in any case; None where there is no such section."""
    name, dot, model = (part.strip() for part in section.partition("."))
    if name.upper() not in SECTION_NAMES or (dot and (not model or name.upper() not in PER_MODEL_SECTIONS)):
        return None
    return name.upper(), model.lower()


def by_group(entries: Iterable[Entry], problems: Problems) -> dict[Group, list[Entry]]:
    """The entries of each group in the order of their sources, so that a later one wins.

    An entry in no section is a problem; in the file it is its header's.
    """
    groups: dict[Group, list[Entry]] = {}
    for entry in entries:
        group = group_of(entry.section)
        if group is not None:
            groups.setdefault(group, []).append(entry)
        elif entry.source is not Source.FILE:
            problems.add(entry.order, entry.problem(_unknown_section(entry.section), is_known=False))
    return groups


def check_headers(headers: Sequence[Header], model_names: Sequence[str] | None, problems: Problems) -> None:
    """Add a problem for each header that names no section or model, or one that is there already."""
    first: dict[Group, int] = {}
    for header in headers:
        if problems.is_full:
            return
        group = group_of(header.name)
        if group is None:
            problems.add(header.order, f"{header.place}: {_unknown_section(header.name)}")
        elif group in first:
            problems.add(
                header.order,
                f"{header.place}: this section begins in line {first[group]} already; write its keys there",
            )
        elif not is_known_model(group, model_names):
            problems.add(header.order, f"{header.place}: {_unknown_model(group, model_names or ())}")
        else:
            first[group] = header.line


def is_known_model(group: Group, model_names: Sequence[str] | None) -> bool:
    """Whether a group is for all models or for one of MODEL_NAMES; True as long as those are not known."""
    return not group[1] or model_names is None or group[1] in (name.lower() for name in model_names)


def sound_entries(
    group: Group, entries: Sequence[Entry], model_names: Sequence[str] | None, problems: Problems
) -> Iterator[Entry]:
    """The entries of a group that can stand; each of the others has a problem, added here or before."""
    first: dict[tuple[Source, str], Entry] = {}
    for entry in entries:
        if problems.is_full:
            return
        twin = first.setdefault((entry.source, entry.key.lower()), entry)
        if entry.value is None:
            continue
        if not is_known_model(group, model_names):
            if entry.source is not Source.FILE:
                problems.add(entry.order, entry.problem(_unknown_model(group, model_names or ())))
        elif twin is not entry and entry.source is not Source.OPTION:
            where = f"in line {twin.position}" if entry.source is Source.FILE else f"as {twin.place}"
            problems.add(entry.order, entry.problem(f"this key is set {where} already"))
        elif not _is_known_key(group, entry.key):
            problems.add(entry.order, entry.problem(_unknown_key(group[0], entry.key), is_known=False))
        elif group[0] == "USER_HYPERPARAMETERS" and entry.key.lower() in Hyperparameters.model_fields:
            problems.add(entry.order, entry.problem("this is a key of [HYPERPARAMETERS]; write it there"))
        elif reason := _value_problem(group[0], entry.key.lower(), entry.value):
            problems.add(entry.order, entry.problem(reason))
        else:
            yield entry


def reason_of(section: type[Section], error: ErrorDetails) -> str:
    """What a message says about one validation error of a section."""
    if error["type"] == "setting":
        return str(error["ctx"]["reason"])
    return f"expected {expectation(section.model_fields[str(error['loc'][0])])}"


def _is_known_key(group: Group, key: str) -> bool:
    section = SECTION_MODELS.get(group[0])
    return section is None or key.lower() in section.model_fields


def _value_problem(section_name: str, field: str, value: str) -> str | None:
    """Why the value cannot be what its key asks for, looked at alone; None where it can."""
    section = SECTION_MODELS.get(section_name)
    if section is None:
        return _scalar_problem(value) if section_name in PER_MODEL_SECTIONS else None
    if section is Hyperparameters and is_tunable(value) and not is_list(section.model_fields[field]):
        return _tunable_problem(field, value)
    try:
        section.model_validate({field: value})
    except ValidationError as error:
        details = error.errors(include_url=False)
        return next((reason_of(section, detail) for detail in details if detail["loc"][:1] == (field,)), None)
    return None


def _tunable_problem(field: str, value: str) -> str | None:
    """Why a hyperparameter cannot be searched for as it is written: every end or category has to be a value of it."""
    try:
        texts = parse_tunable(value).texts
    except ValueError as error:
        return str(error)
    problems = ((text, _value_problem("HYPERPARAMETERS", field, text)) for text in texts)
    return next((f"{text}: {problem}" for text, problem in problems if problem), None)


def _scalar_problem(value: str) -> str | None:
    try:
        for text in parse_tunable(value).texts if is_tunable(value) else (value,):
            scalar(text)
    except ValueError as error:
        return str(error)
    return None


def _unknown_key(section_name: str, key: str) -> str:
    """What to write instead of a key that its section does not have."""
    keys = {name: [field.upper() for field in section.model_fields] for name, section in SECTION_MODELS.items()}
    if homes := [f"[{name}]" for name, names in keys.items() if key.upper() in names]:
        return f"unknown key here; it belongs to {' or '.join(homes)}"
    if close := nearest(key, keys[section_name]):
        return f"unknown key; did you mean {close}?"
    if close := nearest(key, [name for names in keys.values() for name in names]):
        home = next(name for name, names in keys.items() if close in names)
        return f"unknown key; did you mean {close} of [{home}]?"
    return f"unknown key; the keys of [{section_name}] are {', '.join(keys[section_name])}"


def _unknown_section(name: str) -> str:
    base, dot, _ = name.partition(".")
    for_models = " and ".join(f"{section}.<model>" for section in PER_MODEL_SECTIONS)
    if dot and base.strip().upper() in SECTION_NAMES:
        return f"unknown section; the sections for one model are {for_models}"
    close = nearest(base, SECTION_NAMES)
    guess = f"did you mean {close}? " if close else ""
    return f"unknown section; {guess}the sections are {', '.join(SECTION_NAMES)}; and {for_models}"


def _unknown_model(group: Group, model_names: Sequence[str]) -> str:
    close = nearest(group[1], model_names)
    guess = f"did you mean {close}? " if close else ""
    return f"there is no model {shown(group[1])}; {guess}MODEL_NAMES has {', '.join(model_names)}"
