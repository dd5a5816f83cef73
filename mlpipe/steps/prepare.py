"""The step prepare: from labelled rows to split and encoded ones, addressed by what they are made from."""

from __future__ import annotations

from mlpipe.steps.keys import PREPARED, RECONCILED
from mlpipe.steps.outcomes import Snapshot
from mlpipe.steps.reuse import address_of, data_inputs, find, remember
from mlpipe.steps.workplace import Workplace
from mlpipe.storage.units import commit
from mlpipe.workflow import Pipeline, Task


class Prepare(Task):
    """Splits and encodes the rows for every model, unless nothing that they depend on has changed."""

    input_keys = (RECONCILED,)
    output_keys = (PREPARED,)

    def __init__(self, place: Workplace) -> None:
        self._place = place

    def execute(self, pipeline: Pipeline) -> Pipeline:
        """Write PREPARED."""
        place = self._place
        reconciled = pipeline[RECONCILED]
        inputs = data_inputs(place.settings, place.source, ("load_processor", "encode"))
        inputs["MODEL_NAMES"] = list(place.settings.experiment.model_names)
        inputs["the reconciled snapshot"] = reconciled.address
        found = find(place, "prepare", inputs, place.tree.prepared("{}"))
        if isinstance(found, Snapshot):
            place.listener.note(f"prepare: snapshot {found.address} is reused: {found.reason}")
            pipeline[PREPARED] = found
            return pipeline
        place.listener.note(f"prepare: splitting and encoding the rows: {found}")
        result = place.run_job("prepare", [reconciled.unit.channel("reconciled")], tree=place.tree)
        address = address_of(inputs)
        unit = commit(place.storage, result.output, place.tree.prepared(address))
        place.storage.delete(result.attempt)
        remember(place, "prepare", inputs, address)
        pipeline[PREPARED] = Snapshot(unit, address, False, found)
        return pipeline
