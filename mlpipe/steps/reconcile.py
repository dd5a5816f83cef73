"""The step reconcile: from the user's rows to a snapshot addressed by its content."""

from __future__ import annotations

from mlpipe.manifest import MANIFEST, digest
from mlpipe.steps.keys import RECONCILED
from mlpipe.steps.outcomes import Snapshot
from mlpipe.steps.reuse import data_inputs, find, remember, source_inputs
from mlpipe.steps.workplace import Workplace
from mlpipe.storage.units import commit
from mlpipe.workflow import Pipeline, Task


class Reconcile(Task):
    """Collects the labelled rows, unless nothing that they depend on has changed; `force` collects them anyway."""

    input_keys = ()
    output_keys = (RECONCILED,)

    def __init__(self, place: Workplace, *, force: bool = False) -> None:
        self._place = place
        self._force = force

    def execute(self, pipeline: Pipeline) -> Pipeline:
        """Write RECONCILED."""
        place = self._place
        inputs = data_inputs(place.settings, place.source, ("reconcile",)) | source_inputs(place.settings)
        found = find(place, "reconcile", inputs, place.tree.reconciled("{}"))
        if isinstance(found, Snapshot) and not self._force:
            unwatched = (
                ""
                if place.settings.data.sources
                else " (no [DATA] SOURCES are watched; `mlpipe reconcile --force` collects anew)"
            )
            place.listener.note(f"reconcile: snapshot {found.address} is reused: {found.reason}{unwatched}")
            pipeline[RECONCILED] = found
            return pipeline
        reason = found if isinstance(found, str) else "--force was given"
        place.listener.note(f"reconcile: collecting the rows: {reason}")
        result = place.run_job("reconcile", [], tree=place.tree)
        address = digest(place.storage.read(f"{result.output}/{MANIFEST}"))[:16]
        unit = commit(place.storage, result.output, place.tree.reconciled(address))
        place.storage.delete(result.attempt)
        remember(place, "reconcile", inputs, address)
        pipeline[RECONCILED] = Snapshot(unit, address, False, reason)
        return pipeline
