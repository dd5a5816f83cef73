"""Inference of a committed run again: what was published is computed anew and compared, and never changed."""

from __future__ import annotations

from dataclasses import dataclass

from mlpipe.errors import MlpipeError
from mlpipe.manifest import MANIFEST, parse_manifest
from mlpipe.runs import RunTree
from mlpipe.steps.infer import inference_outcomes, run_inference
from mlpipe.steps.workplace import Workplace
from mlpipe.storage.units import Unit, open_unit

COMPARED = ("statistics.json", "predictions.parquet")
"""What has to come out the same; times and plots are not compared."""


@dataclass(frozen=True)
class Verification:
    """A committed run whose published results were computed again and came out the same."""

    run_num: int
    model_names: tuple[str, ...]
    files: tuple[str, ...] = COMPARED


def verify_run(place: Workplace, run: RunTree, prepared: Unit, model_names: tuple[str, ...]) -> Verification:
    """Infer all models of a committed run again and compare the bytes of what was published.

    Raises IntegrityError where a file of the run is no longer the committed one, and MlpipeError where the files are
    all right and a result comes out differently; what was published stays as it is.
    """
    committed = open_unit(place.storage, run.root)
    for file in committed.files:  # the manifests of the units below are among them
        committed.read(file)
    published = {name: open_unit(place.storage, run.inference(name)) for name in model_names}
    for unit in published.values():
        for file in unit.files:
            unit.read(file)
    result = run_inference(place, run, prepared, model_names)
    for outcome in inference_outcomes(place, result):
        if not outcome.is_published:
            raise MlpipeError(f"run {run.run_num}: {outcome.model_name} can no longer be inferred: {outcome.error}")
    for name, unit in published.items():
        manifest = f"{result.output}/{name}/{MANIFEST}"
        again = parse_manifest(place.storage.read(manifest), manifest)
        for file in COMPARED:
            if again[file] != unit.files[file]:
                raise MlpipeError(
                    f"run {run.run_num}: {name}/{file} came out differently from what was published",
                    hint="equal results are promised for the same machine, versions and threads; run.json says which "
                    f"they were; the new results are at {place.storage.locate(result.output)}",
                )
    place.storage.delete(result.attempt)
    return Verification(run.run_num, model_names)
