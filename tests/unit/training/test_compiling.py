"""COMPILE: other code for the same training, and nothing but the training."""

from __future__ import annotations

import math
import shutil
from collections.abc import Callable

import pytest
import torch

from mlpipe.errors import SettingsError
from mlpipe.training.compiling import cxx
from mlpipe.training.job import TrainingJob
from mlpipe.training.loop import TrainedModel, fit, start_accelerator

MODEL = """
class Model(nn.Module):
    def __init__(self, labels):
        super().__init__()
        self.embedding = nn.Embedding(20, 8)
        self.output = nn.Linear(8, labels)

    def forward(self, input_ids, attention_mask):
        mask = attention_mask.unsqueeze(-1).float()
        logits = self.output((self.embedding(input_ids) * mask).sum(1) / mask.sum(1))
        return {returned}
"""
SETTINGS = "[TRAINING]\nCOMPILE = {compile}\n[HYPERPARAMETERS]\nLEARNING_RATE = 0.05\nEPOCHS = 2\n"

# Of torch's compiler itself, while it is imported.
pytestmark = pytest.mark.filterwarnings("ignore:`torch.jit.script_method` is deprecated:DeprecationWarning")
needs_a_compiler = pytest.mark.skipif(not shutil.which(cxx()), reason=f"there is no C++ compiler {cxx()}")


def train(make_job: Callable[..., TrainingJob], compile: str, returned: str = "logits") -> TrainedModel:
    job = make_job(MODEL.format(returned=returned), settings=SETTINGS.format(compile=compile), name=compile)
    trained = fit(job, start_accelerator(job))
    assert trained is not None
    return trained


@needs_a_compiler
def test_compiled_steps_learn_the_same(make_job: Callable[..., TrainingJob]) -> None:
    compiled, eager = train(make_job, "yes"), train(make_job, "no")
    assert eager.history.best.metrics["f1"] > 0.6
    torch.testing.assert_close(compiled.classifier.state_dict(), eager.classifier.state_dict(), rtol=1e-3, atol=1e-4)


@needs_a_compiler
def test_only_the_steps_are_compiled(make_job: Callable[..., TrainingJob]) -> None:
    # Compiled, this model does not tell the labels apart; otherwise it tells them apart by its first weights.
    trained = train(make_job, "yes", returned="logits * (0.0 if torch.compiler.is_compiling() else 1.0)")
    for record in trained.history.records:
        assert record.train_loss == pytest.approx(math.log(3), abs=1e-6)
        assert record.validation_loss != pytest.approx(math.log(3), abs=1e-3)


def test_without_a_compiler_it_is_refused(
    make_job: Callable[..., TrainingJob], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(SettingsError, match="COMPILE = yes needs a C\\+\\+ compiler, and there is no"):
        train(make_job, "yes")
