"""From trained weights to the files of models/<MODEL_NAME>/ that inference loads."""

from __future__ import annotations

import logging
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from mlpipe.batching import EncodedRows
from mlpipe.errors import ExportError, UserFunctionError
from mlpipe.specs import InputSpec, Signature, ValidShapes
from mlpipe.training.cases import PLANS, CaseMaker, Lengths, Plan, snapshot_lengths
from mlpipe.training.classifier import Classifier, load_classifier
from mlpipe.training.formats import dynamic_shapes, save_torch_export, save_torchscript
from mlpipe.training.history import write_json
from mlpipe.training.job import TrainingJob
from mlpipe.training.parity import Parity, Reference

logger = logging.getLogger(__name__)

TORCHSCRIPT, TORCH_EXPORT, STATE_DICT = "model.pt", "model.pt2", "state_dict.safetensors"


def export_model(
    job: TrainingJob, classifier: Classifier, inputs: tuple[InputSpec, ...], validation: EncodedRows
) -> None:
    """Write the trained `classifier` (on CPU) to `job.output` in every form that equals it.

    model.pt, model.pt2 where it passes, state_dict.safetensors, processor/, id2label.json, signature.json, parity.json.
    The reference is a model made anew by load_model with the same weights, so that whatever a state_dict does not
    hold is found missing. Raises ExportError where model.pt would be right at no shape.
    """
    job.output.mkdir(parents=True, exist_ok=True)
    state = _state_of(classifier)
    maker = _case_maker(job, inputs, validation)
    exporter = _Exporter(job, classifier.eval(), _load_fresh(job, inputs, state), maker)
    with tempfile.TemporaryDirectory(prefix="mlpipe-export-") as folder:
        script, reference, rejected = exporter.torchscript(Path(folder))
        program, reason = exporter.torch_export(Path(folder), reference)
        save_file(state, Path(folder) / STATE_DICT)
        for file in (TORCHSCRIPT, STATE_DICT, *([TORCH_EXPORT] if program else [])):
            # A copy has the permissions of any new file; what safetensors writes only its owner may read.
            shutil.copyfile(Path(folder) / file, job.output / file)
    _copy_processor(job)
    write_json(job.output / "id2label.json", {str(index): label for index, label in job.id2label.items()})
    write_json(job.output / "signature.json", _signature(job, inputs, maker.lengths, script).to_json())
    write_json(job.output / "parity.json", _parity_document(script, rejected, program, reason))


def save_weights(classifier: Classifier, folder: Path) -> None:
    """Write state_dict.safetensors alone, the same bytes that `export_model` writes."""
    folder.mkdir(parents=True, exist_ok=True)
    save_file(_state_of(classifier), folder / STATE_DICT)


def _state_of(classifier: Classifier) -> dict[str, torch.Tensor]:
    return {name: value.detach().clone().contiguous() for name, value in classifier.module.state_dict().items()}


def _case_maker(job: TrainingJob, inputs: tuple[InputSpec, ...], validation: EncodedRows) -> CaseMaker:
    columns = [job.encoding.inputs[job.model_name][entry.name] for entry in inputs]
    return CaseMaker(
        rows=validation,
        inputs=inputs,
        lengths=snapshot_lengths([(column.min_length, column.max_length) for column in columns], validation),
        token_budget=job.settings.inference.token_budget,
    )


def _load_fresh(job: TrainingJob, inputs: tuple[InputSpec, ...], state: Mapping[str, torch.Tensor]) -> Classifier:
    """A new model with the trained weights, on CPU in eval mode."""
    fresh = load_classifier(job, inputs)
    try:
        fresh.module.load_state_dict(state)
    except RuntimeError as error:
        raise UserFunctionError(
            f"load_model() made another model when it was called again for {job.model_name}: {error}",
            hint="the same arguments have to give parameters and buffers of the same names and shapes",
        ) from error
    return fresh.cpu().eval()


@dataclass(frozen=True)
class _Exporter:
    """Exports `classifier` and compares with `fresh`."""

    job: TrainingJob
    classifier: Classifier
    fresh: Classifier
    maker: CaseMaker

    def torchscript(self, folder: Path) -> tuple[Parity, Reference, dict[str, str]]:
        """Save the least restricted model.pt that passes; also returns why the plans before it were rejected."""
        rejected: dict[str, str] = {}
        for plan in PLANS:
            num_labels, code = len(self.job.encoding.labels), self.job.functions.code
            reference = Reference.of(self.fresh, plan, self.maker, num_labels, code)
            try:
                save_torchscript(self.classifier, self._example(plan), folder / TORCHSCRIPT)
            except Exception as error:
                rejected[plan.name] = f"it cannot be traced: {_first_line(error)}"
                continue
            parity = reference.check(folder / TORCHSCRIPT, self.job.threads)
            if parity.is_equal:
                logger.info("model.pt equals the model: %s", plan.name)
                return parity, reference, rejected
            rejected[plan.name] = parity.failure()
            logger.info("model.pt is not right for %s: %s", plan.name, rejected[plan.name])
        reasons = "\n".join(f"  {name}: {reason}" for name, reason in rejected.items())
        raise ExportError(
            f"no TorchScript export of {self.job.model_name} equals the model\n{reasons}",
            hint="a traced forward() must not branch on values, nor keep state outside of parameters and buffers",
        )

    def torch_export(self, folder: Path, reference: Reference) -> tuple[Parity | None, str]:
        """Save a model.pt2 for the same plan; where none passes, returns None and the reason."""
        reason = ""
        for shapes in dynamic_shapes(self.maker.inputs, self.maker.lengths, reference.plan):
            try:
                save_torch_export(self.classifier, self._example(reference.plan), shapes, folder / TORCH_EXPORT)
            except Exception as error:
                reason = f"it cannot be exported: {_first_line(error)}"
                continue
            parity = reference.check(folder / TORCH_EXPORT, self.job.threads)
            if parity.is_equal:
                return parity, ""
            reason = parity.failure()
        logger.info("no model.pt2: %s", reason)
        return None, reason

    def _example(self, plan: Plan) -> tuple[torch.Tensor, ...]:
        return self.maker.tensors(self.maker.example(plan))


def _first_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__


def _signature(job: TrainingJob, inputs: tuple[InputSpec, ...], lengths: Lengths, parity: Parity) -> Signature:
    plan = parity.plan
    has_ragged = any(entry.ragged for entry in inputs)
    shapes = ValidShapes(
        batch_dynamic=plan.is_batch_dynamic,
        seq_dynamic=plan.is_seq_dynamic,
        batch_invariant=parity.is_batch_invariant,
        batch_size=2 if plan.is_batch_dynamic else 1,
        min_length=lengths.short if has_ragged else None,
        max_length=lengths.longest if has_ragged else None,
    )
    return Signature(job.model_name, job.encoding.task_type, inputs, len(job.encoding.labels), shapes)


def _parity_document(
    script: Parity, rejected: Mapping[str, str], program: Parity | None, reason: str
) -> dict[str, Any]:
    published = {"torchscript": script} | ({"torch_export": program} if program else {})
    return {
        "is_equal": all(parity.is_equal for parity in published.values()),
        "max_difference": max(parity.max_difference for parity in published.values()),
        "tolerance": script.results[0].tolerance,
        "plan": script.plan.name,
        "rejected_plans": dict(rejected),
        "formats": {
            "torchscript": {"file": TORCHSCRIPT, "reason": ""},
            "torch_export": {"file": TORCH_EXPORT if program else None, "reason": reason},
        },
        "cases": [
            {"format": name, **asdict(result)} for name, parity in published.items() for result in parity.results
        ],
    }


def _copy_processor(job: TrainingJob) -> None:
    source = job.encoding_folder / "processors" / job.model_name
    if source.is_dir():
        shutil.copytree(source, job.output / "processor", dirs_exist_ok=True)
