"""When a data step need not run again: what it was made from, by name, and the first thing that differs."""

from __future__ import annotations

import json
import platform
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from mlpipe.manifest import digest, sha256_of, to_bytes
from mlpipe.settings import Settings
from mlpipe.steps.outcomes import Snapshot
from mlpipe.steps.sources import source_files
from mlpipe.steps.workplace import Workplace
from mlpipe.storage.documents import read_document
from mlpipe.storage.units import is_committed, open_unit
from mlpipe.user_functions import UserSource

DATA_FORMAT = 3
"""Changes when a new mlpipe would make other snapshots of the same inputs."""

Inputs = dict[str, Any]
"""What a data step depends on: a name that the user understands, and a value or `sha256:<hex>`."""


def data_inputs(settings: Settings, source: UserSource, functions: tuple[str, ...]) -> Inputs:
    """What every data step depends on: the settings that its functions see, and the functions themselves."""
    given = settings.for_data_functions().to_json()
    inputs: Inputs = {"the data format": DATA_FORMAT, "Python": platform.python_version(), "SEED": given["seed"]}
    inputs |= {f"[DATA] {name.upper()}": value for name, value in given["data"].items()}
    inputs |= {f"[USER] {name}": value for name, value in given["user"].items()}
    inputs |= {f"{name}()": f"sha256:{source.functions[name].definition_sha256}" for name in functions}
    inputs |= {f"a file that {name}() can reach": f"sha256:{source.functions[name].sha256}" for name in functions}
    return inputs


def source_inputs(settings: Settings) -> Inputs:
    """The hashes of [DATA] SOURCES. SettingsError where one is missing."""
    return {f"the source {name}": f"sha256:{sha256_of(file)}" for name, file in source_files(settings)}


def find(place: Workplace, step: str, inputs: Inputs, snapshot_key: str) -> Snapshot | str:
    """The snapshot that these inputs gave before, or the reason why there is none.

    `snapshot_key` is the key of a snapshot, with `{}` in place of its address.
    """
    record = place.tree.record(step, address_of(inputs))
    if place.storage.exists(record):
        address = read_document(place.storage, record, "snapshot")["snapshot"]
        key = snapshot_key.format(address)
        if is_committed(place.storage, key):
            return Snapshot(open_unit(place.storage, key), address, True, "nothing that it is made from has changed")
        return f"snapshot {address} is gone"
    return _reason(place, step, inputs)


def remember(place: Workplace, step: str, inputs: Inputs, address: str) -> None:
    """Record which snapshot these inputs gave."""
    document = {"made": datetime.now(UTC).isoformat(), "snapshot": address, "inputs": inputs}
    place.storage.write(place.tree.record(step, address_of(inputs)), to_bytes(document))


def address_of(inputs: Inputs) -> str:
    """The address of what is made from `inputs`: 16 hex digits of a sha256."""
    return digest(to_bytes(inputs))[:16]


def _reason(place: Workplace, step: str, inputs: Inputs) -> str:
    """What differs first from the most similar inputs of before; of equally similar ones from the newest."""
    folder = place.tree.records(step)
    names = [name for name in place.storage.files(folder) if name.endswith(".json")]
    records = [read_document(place.storage, f"{folder}/{name}", "made", "inputs") for name in names]
    newest_first = sorted(records, key=lambda record: str(record["made"]), reverse=True)
    differences = [_differences(record["inputs"], inputs) for record in newest_first]
    return min(differences, key=len)[0] if differences else "it was not made before"


def _differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """Every input that differs, in words."""
    plain = json.loads(to_bytes(new))  # as the old ones were read: tuples are lists
    found = []
    for name in dict.fromkeys([*plain, *old]):
        if name not in old:
            found.append(f"{name} is new")
        elif name not in plain:
            found.append(f"{name} is no longer there")
        elif old[name] != plain[name]:
            is_hash = str(plain[name]).startswith("sha256:")
            found.append(f"{name} has changed" + ("" if is_hash else f" from {old[name]} to {plain[name]}"))
    return found
