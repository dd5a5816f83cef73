"""What the hyperparameters and the objective change in a whole training."""

from __future__ import annotations

import logging
from typing import Any

import pytest
import torch
from torch import nn

from mlpipe.batching import EncodedRows, epoch_batches
from mlpipe.errors import SettingsError, UserFunctionError
from mlpipe.training.job import TrainingJob
from mlpipe.training.loop import TrainedModel, fit, start_accelerator
from mlpipe.training.losses import Loss
from mlpipe.training.optimization import balanced_class_weights, schedule_factor

LAYERED = """
class Model(nn.Module):
    def __init__(self, labels):
        super().__init__()
        self.embedding = nn.Embedding(20, 8)
        self.layers = nn.ModuleList([nn.Linear(8, 8), nn.Linear(8, 8)])
        self.output = nn.Linear(8, labels)

    def forward(self, input_ids, attention_mask):
        mask = attention_mask.unsqueeze(-1).float()
        mean = (self.embedding(input_ids) * mask).sum(1) / mask.sum(1)
        for layer in self.layers:
            mean = mean + torch.tanh(layer(mean))
        return self.output(mean)
"""

FAILING = """
from pathlib import Path

calls = 0

def fail_as_ordered():
    global calls
    calls += 1
    order = Path(__file__).with_name("fail")
    if order.exists() and order.read_text() == str(calls):
        raise RuntimeError("as ordered")
"""

SCRIPTED = """
class Model(nn.Module):
    # In evaluation it answers label 0, which is right, for {rights}[epoch] of ten rows, whatever it learns.
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(3))
        self.epoch = 0

    def forward(self, input_ids, attention_mask):
        if self.training:
            return self.weight.expand(len(input_ids), 3)
        answer = torch.zeros(10, 3)
        right = {rights}[self.epoch]
        answer[:right, 0] = 1
        answer[right:, 1] = 1
        self.epoch += 1
        return answer
"""


def settings_of(hyperparameters: str, training: str = "", tuning: str = "") -> str:
    sections = {"HYPERPARAMETERS": hyperparameters, "TRAINING": training, "TUNING": tuning}
    return "".join(f"[{name}]\n" + text.replace("; ", "\n") + "\n" for name, text in sections.items() if text)


def train(job: TrainingJob) -> TrainedModel:
    return fit(job, start_accelerator(job))


def validation_loss_of(trained: TrainedModel) -> float:
    rows = trained.validation
    with torch.no_grad():
        logits = trained.classifier(*rows.collate(range(len(rows)), {"input_ids": 0, "attention_mask": 0}).values())
    return float(nn.functional.cross_entropy(logits, torch.from_numpy(rows.labels)))


def scripted(rights: list[int]) -> dict[str, Any]:
    row = {"label": 0, "input_ids": [1, 2], "attention_mask": [1, 1]}
    rows = [{"id": str(number), **row} for number in range(10)]
    return {"model": SCRIPTED.format(rights=rights), "load_model": "Model()", "validation": rows}


def weights_by_hand(job: TrainingJob, *, frozen: str = "nothing") -> dict[str, torch.Tensor]:
    """The weights after the last epoch of a job, in plain torch."""
    chosen = job.hyperparameters
    rows = EncodedRows.open(job.train, job.encoding, "model")
    torch.manual_seed(42)
    model = job.functions.load_model("model", job.id2label, job.settings.for_model_functions("model"))
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(not name.startswith(frozen))
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], weight_decay=0.0)
    loss = Loss.of(chosen, balanced_class_weights(rows.labels, 3))
    epochs = range(1, chosen.epochs + 1)
    batches = [batch for epoch in epochs for batch in epoch_batches(rows.lengths, chosen.batch_size, 42, epoch)]
    average = {name: value.clone() for name, value in model.state_dict().items()}
    for step, batch in enumerate(batches):
        for group in optimizer.param_groups:
            group["lr"] = chosen.learning_rate * schedule_factor(chosen.schedule, step, 2, len(batches))
        labels = rows.labels[batch]
        logits = model(**rows.collate(batch, {"input_ids": 0, "attention_mask": 0}))
        (loss.sum(logits, torch.from_numpy(labels)) / loss.weight(labels)).backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        decay = min(chosen.ema_decay, (2 + step) / (11 + step)) if chosen.ema_decay else 0.0
        average = {name: decay * average[name] + (1 - decay) * value for name, value in model.state_dict().items()}
    return average


@pytest.mark.parametrize(
    "extra",
    [
        "SCHEDULE = cosine",
        "SCHEDULE = constant",
        "LABEL_SMOOTHING = 0.2",
        "FOCAL_GAMMA = 2",
        "FREEZE = embedding.*",
        "EMA_DECAY = 0.8",
        "EMA_DECAY = 0.8; FREEZE = embedding.weight; LABEL_SMOOTHING = 0.1; FOCAL_GAMMA = 1; SCHEDULE = cosine",
    ],
)
def test_a_setting_changes_training_as_it_does_in_plain_torch(make_job, token_rows, extra: str) -> None:
    common = "EPOCHS = 1; BATCH_SIZE = 8; LEARNING_RATE = 0.05; WARMUP_RATIO = 0.15; WEIGHT_DECAY = 0"
    job = make_job(
        LAYERED,
        settings=settings_of(f"{common}; {extra}", "MAX_BATCH_PER_DEVICE = 5; CLASS_WEIGHTS = balanced"),
        train=token_rows(90, 1) + token_rows(12, 3)[::3],
    )
    expected = weights_by_hand(job, frozen="embedding" if "FREEZE" in extra else "nothing")
    trained = train(job).classifier.module.state_dict()
    torch.testing.assert_close(trained, expected, atol=2e-5, rtol=0)
    plain = train(make_job(LAYERED, settings=settings_of(common), name="plain")).classifier.module.state_dict()
    assert not torch.allclose(trained["embedding.weight"], plain["embedding.weight"], atol=1e-3)


def test_what_is_validated_is_the_average(make_job) -> None:
    settings = settings_of("EPOCHS = 2; BATCH_SIZE = 8; LEARNING_RATE = 0.1; EMA_DECAY = 0.9", "METRICS = f1, log_loss")
    trained = train(make_job(LAYERED, settings=settings))
    assert validation_loss_of(trained) == pytest.approx(trained.history.best.validation_loss, abs=1e-5)


def test_lower_layers_learn_more_slowly(make_job) -> None:
    settings = "EPOCHS = 1; BATCH_SIZE = 96; LEARNING_RATE = 0.1; WARMUP_RATIO = 0; LAYER_LR_DECAY = 0.1"
    job = make_job(LAYERED, settings=settings_of(settings))
    torch.manual_seed(42)
    first = job.functions.load_model("model", job.id2label, job.settings.for_model_functions("model")).state_dict()
    last = train(job).classifier.module.state_dict()
    moved = {name: float((last[name] - first[name]).abs().max()) for name in first}
    # The first step of AdamW is as long as the learning rate.
    assert moved["output.bias"] == pytest.approx(0.1, rel=0.02)
    assert moved["layers.1.bias"] == pytest.approx(0.01, rel=0.02)
    assert moved["layers.0.bias"] == pytest.approx(0.001, rel=0.02)
    assert moved["embedding.weight"] == pytest.approx(0.0001, rel=0.1)


def test_a_model_with_lora_is_exported_as_the_model_that_it_is(make_job) -> None:
    pytest.importorskip("peft", reason="needs the extra lora")
    job = make_job(LAYERED, settings=settings_of("EPOCHS = 3; LEARNING_RATE = 0.1; BATCH_SIZE = 8; LORA_RANK = 2"))
    torch.manual_seed(42)
    first = job.functions.load_model("model", job.id2label, job.settings.for_model_functions("model")).state_dict()
    trained = train(job)
    last = trained.classifier.module.state_dict()
    assert list(last) == list(first)
    assert torch.equal(last["embedding.weight"], first["embedding.weight"])
    change = last["layers.1.weight"] - first["layers.1.weight"]
    assert torch.linalg.matrix_rank(change, tol=1e-5) == 2
    assert not torch.equal(last["output.weight"], first["output.weight"])
    assert validation_loss_of(trained) == pytest.approx(trained.history.best.validation_loss, abs=1e-5)


@pytest.mark.parametrize("extra", ["EMA_DECAY = 0.9", "LORA_RANK = 2; EMA_DECAY = 0.5; LAYER_LR_DECAY = 0.9"])
def test_a_training_that_failed_goes_on_bit_for_bit(make_job, caplog, extra: str) -> None:
    if "LORA_RANK" in extra:
        pytest.importorskip("peft", reason="needs the extra lora")
    settings = settings_of(f"EPOCHS = 2; LEARNING_RATE = 0.05; BATCH_SIZE = 8; {extra}", "CHECKPOINT_MINUTES = 1e-9")
    in_peace = train(make_job(LAYERED, settings=settings, name="peace"))
    job = make_job(FAILING + LAYERED.replace("mask =", "fail_as_ordered(); mask ="), settings=settings)
    order = job.functions.code / "fail"
    # Of 12 training steps an epoch and some validation batches, after the first epoch.
    order.write_text("20")
    with pytest.raises(UserFunctionError, match="as ordered"):
        train(job)
    order.unlink()
    caplog.set_level(logging.INFO)
    found = train(job)
    assert "resumed from the checkpoint" in caplog.text
    expected = in_peace.classifier.module.state_dict()
    assert all(torch.equal(value, expected[name]) for name, value in found.classifier.module.state_dict().items())
    assert found.history.records == in_peace.history.records


@pytest.mark.parametrize(
    ("objective", "objective_type", "best", "epochs"),
    [
        ("accuracy", "auto", 2, 4),
        ("accuracy", "Minimize", 3, 5),
        ("log_loss", "auto", 2, 4),
        ("log_loss", "Maximize", 3, 5),
    ],
)
def test_the_objective_is_maximized_or_minimized(make_job, objective, objective_type, best, epochs) -> None:
    settings = settings_of(
        "EPOCHS = 6",
        f"OBJECTIVE_METRIC_NAME = {objective}; METRICS = log_loss, accuracy; EARLY_STOPPING_PATIENCE = 2",
        f"OBJECTIVE_TYPE = {objective_type}",
    )
    history = train(make_job(**scripted([5, 8, 3, 4, 4, 4]), settings=settings)).history
    assert (history.best.epoch, len(history.records)) == (best, epochs)


def test_a_pattern_that_freezes_nothing_is_refused(make_job) -> None:
    with pytest.raises(SettingsError, match="FREEZE: no parameter of the model has a name like embeding") as caught:
        train(make_job(LAYERED, settings=settings_of("FREEZE = embeding.*")))
    assert "embedding.*" in caught.value.hint


@pytest.mark.skipif(torch.accelerator.is_available(), reason="needs a machine without a GPU")
def test_bf16_is_refused_on_a_processor_without_it(make_job, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", dict)
    with pytest.raises(SettingsError, match="MIXED_PRECISION = bf16"):
        train(make_job(settings=settings_of("EPOCHS = 1", "MIXED_PRECISION = bf16")))
