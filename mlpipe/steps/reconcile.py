"""The step reconcile: from the user's rows to a snapshot addressed by its content."""

from __future__ import annotations

from mlpipe.manifest import MANIFEST, digest
from mlpipe.specs import JobSpec
from mlpipe.steps.keys import RECONCILED
from mlpipe.steps.outcomes import Snapshot
from mlpipe.steps.preview import Outlook, Preview, Step
from mlpipe.steps.reuse import Inputs, data_inputs, find, remember, source_inputs
from mlpipe.steps.workplace import Workplace
from mlpipe.storage.units import commit
from mlpipe.workflow import Pipeline


class Reconcile(Step):
    """Collects the labelled rows, unless nothing that they depend on has changed; `force` collects them anyway."""

    input_keys = ()
    output_keys = (RECONCILED,)

    def __init__(self, place: Workplace, *, force: bool = False) -> None:
        self._place = place
        self._force = force

    def execute(self, pipeline: Pipeline) -> Pipeline:
        """Write RECONCILED."""
        place, inputs = self._place, self._inputs()
        found = self._find(inputs)
        if isinstance(found, Snapshot):
            place.listener.note(f"reconcile: {self._reuse(found)}")
            pipeline[RECONCILED] = found
            return pipeline
        place.listener.note(f"reconcile: collecting the rows: {found}")
        result = place.run(self._job())
        address = digest(place.storage.read(f"{result.output}/{MANIFEST}"))[:16]
        unit = commit(place.storage, result.output, place.tree.reconciled(address))
        place.storage.delete(result.attempt)
        remember(place, "reconcile", inputs, address)
        pipeline[RECONCILED] = Snapshot(unit, address, False, found)
        return pipeline

    def preview(self, outlook: Outlook) -> Preview:
        """Whether the rows would be collected, and why."""
        found = self._find(self._inputs())
        if isinstance(found, Snapshot):
            outlook.reconciled = found
            return Preview(self.name, self._reuse(found))
        return Preview(self.name, f"collect the rows: {found}", self._job())

    def _inputs(self) -> Inputs:
        settings = self._place.settings
        return data_inputs(settings, self._place.source, ("reconcile",)) | source_inputs(settings)

    def _find(self, inputs: Inputs) -> Snapshot | str:
        """The snapshot of these inputs, or the reason to make one."""
        found = find(self._place, "reconcile", inputs, self._place.tree.reconciled("{}"))
        return "--force was given" if self._force and isinstance(found, Snapshot) else found

    def _reuse(self, found: Snapshot) -> str:
        watched = self._place.settings.data.sources
        unwatched = "" if watched else " (no [DATA] SOURCES are watched; `mlpipe reconcile --force` collects anew)"
        return f"snapshot {found.address} is reused: {found.reason}{unwatched}"

    def _job(self) -> JobSpec:
        return self._place.job("reconcile", [], tree=self._place.tree)
