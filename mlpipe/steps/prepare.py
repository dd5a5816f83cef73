"""The step prepare: from labelled rows to split and encoded ones, addressed by what they are made from."""

from __future__ import annotations

from mlpipe.specs import JobSpec
from mlpipe.steps.keys import PREPARED, RECONCILED
from mlpipe.steps.outcomes import Snapshot
from mlpipe.steps.preview import Outlook, Preview, Step
from mlpipe.steps.reuse import Inputs, address_of, data_inputs, find, remember
from mlpipe.steps.workplace import Workplace
from mlpipe.storage.units import Unit, commit
from mlpipe.workflow import Pipeline


class Prepare(Step):
    """Splits and encodes the rows for every model, unless nothing that they depend on has changed."""

    input_keys = (RECONCILED,)
    output_keys = (PREPARED,)

    def __init__(self, place: Workplace) -> None:
        self._place = place

    def execute(self, pipeline: Pipeline) -> Pipeline:
        """Write PREPARED."""
        place = self._place
        reconciled = pipeline[RECONCILED]
        inputs = self._inputs(reconciled)
        found = find(place, "prepare", inputs, place.tree.prepared("{}"))
        if isinstance(found, Snapshot):
            place.listener.note(f"prepare: snapshot {found.address} is reused: {found.reason}")
            pipeline[PREPARED] = found
            return pipeline
        place.listener.note(f"prepare: splitting and encoding the rows: {found}")
        result = place.run(self._job(reconciled.unit))
        address = address_of(inputs)
        unit = commit(place.storage, result.output, place.tree.prepared(address))
        place.storage.delete(result.attempt)
        remember(place, "prepare", inputs, address)
        pipeline[PREPARED] = Snapshot(unit, address, False, found)
        return pipeline

    def preview(self, outlook: Outlook) -> Preview:
        """Whether the rows would be split and encoded, and why."""
        place, reconciled = self._place, outlook.reconciled
        if reconciled is None:
            job = self._job(place.pending(place.tree.reconciled))
            return Preview(self.name, "split and encode the rows: they are to be collected first", job)
        found = find(place, "prepare", self._inputs(reconciled), place.tree.prepared("{}"))
        if isinstance(found, Snapshot):
            outlook.prepared = found
            return Preview(self.name, f"snapshot {found.address} is reused: {found.reason}")
        return Preview(self.name, f"split and encode the rows: {found}", self._job(reconciled.unit))

    def _inputs(self, reconciled: Snapshot) -> Inputs:
        inputs = data_inputs(self._place.settings, self._place.source, ("load_processor", "encode"))
        inputs["MODEL_NAMES"] = list(self._place.settings.experiment.model_names)
        inputs["the reconciled snapshot"] = reconciled.address
        return inputs

    def _job(self, reconciled: Unit) -> JobSpec:
        return self._place.job("prepare", [reconciled.channel("reconciled")], tree=self._place.tree)
