"""Between data and training: a run number, new or resumed, and the record of what the run is for."""

from __future__ import annotations

from collections.abc import Mapping

from mlpipe.manifest import digest, to_bytes
from mlpipe.runs import RunTree
from mlpipe.settings.multi_label import check_multi_label
from mlpipe.specs import TaskType
from mlpipe.steps.keys import PREPARED, RUN
from mlpipe.steps.outcomes import Snapshot
from mlpipe.steps.preview import Outlook, Preview, Step
from mlpipe.steps.state import write_state
from mlpipe.steps.workplace import Workplace
from mlpipe.storage.claims import claim_run, foreseen_run, why_not_resumed
from mlpipe.workflow import Pipeline


class ClaimRun(Step):
    """Resumes the newest abandoned run of the same settings, functions and snapshot, or claims a new number."""

    input_keys = (PREPARED,)
    output_keys = (RUN,)

    def __init__(self, place: Workplace, *, new: bool) -> None:
        self._place = place
        self._new = new
        # Read before the first job starts, as the settings were: what is edited meanwhile belongs to the next run.
        self._settings_text = place.settings.source.read_bytes()

    def execute(self, pipeline: Pipeline) -> Pipeline:
        """Write RUN. Raises SettingsError where [TRAINING] asks for what the rows have no form for."""
        place = self._place
        self._check_training(pipeline[PREPARED])  # here the rows are known, and no training was paid for
        fingerprint = self._fingerprint(pipeline[PREPARED])
        wanted = place.settings.experiment.run_num
        claim = claim_run(place.storage, place.tree, fingerprint, new=self._new, run_num=wanted)
        write_state(place, claim, "running")
        run = claim.run
        place.storage.write(run.settings, self._settings_text)
        place.storage.write(run.resolved_settings, to_bytes(place.settings.to_json()))
        for name, content in place.source.files.items():
            place.storage.write(f"{run.user_functions}/{name}", content)
        if not claim.is_resumed:
            self._explain(run, fingerprint)
        place.listener.note(f"run {run.run_num} is {'resumed' if claim.is_resumed else 'new'}")
        pipeline[RUN] = claim
        return pipeline

    def preview(self, outlook: Outlook) -> Preview:
        """Which run would be resumed, or which number would be claimed unless somebody else is quicker.

        Raises SettingsError as `execute` would, where the snapshot is there already.
        """
        place, wanted = self._place, self._place.settings.experiment.run_num
        if outlook.prepared:
            self._check_training(outlook.prepared)
        fingerprint = self._fingerprint(outlook.prepared) if outlook.prepared else None
        outlook.run, resumed = foreseen_run(place.storage, place.tree, fingerprint, new=self._new, run_num=wanted)
        return Preview(self.name, f"run {outlook.run.run_num} would be {'resumed' if resumed else 'new'}")

    def _check_training(self, prepared: Snapshot) -> None:
        if prepared.unit.read_json("data_card.json")["task_type"] == TaskType.MULTI_LABEL:
            check_multi_label(self._place.settings.training)

    def _explain(self, run: RunTree, fingerprint: Mapping[str, str]) -> None:
        """Say why the run before a new one is not gone on with, unless somebody asked for that."""
        place, number = self._place, run.run_num - 1
        if self._new or place.settings.experiment.run_num is not None or number < 1:
            return
        if reason := why_not_resumed(place.storage, place.tree.run(number), fingerprint):
            place.listener.note(f"run {number} is not resumed: {reason}")

    def _fingerprint(self, prepared: Snapshot) -> dict[str, str]:
        return {
            "settings": digest(to_bytes(self._place.settings.fingerprint_document())),
            "functions": self._place.source.sha256,
            "snapshot": prepared.address,
        }
