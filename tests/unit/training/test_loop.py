"""Training: equal gradients whatever fits in memory, the best epoch kept, the user's mistakes named."""

from __future__ import annotations

import copy
import logging

import numpy as np
import pytest
import torch
from torch import nn

from mlpipe.batching import EncodedRows, epoch_batches
from mlpipe.errors import SettingsError, UserFunctionError
from mlpipe.training.loop import TrainedModel, fit, start_accelerator
from mlpipe.training.optimization import balanced_class_weights
from mlpipe.training.precision import offers_bf16

WITHOUT_DROPOUT = """
class Model(nn.Module):
    def __init__(self, labels):
        super().__init__()
        self.embedding = nn.Embedding(20, 8)
        self.output = nn.Linear(8, labels)

    def forward(self, input_ids, attention_mask):
        mask = attention_mask.unsqueeze(-1).float()
        return self.output((self.embedding(input_ids) * mask).sum(1) / mask.sum(1))
"""

OVERRIDDEN = """
class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(3))

    def forward(self, {parameters}):
        {body}
"""


def settings_of(hyperparameters: str, training: str = "") -> str:
    lines = ["[HYPERPARAMETERS]", *hyperparameters.split(", ")]
    if training:
        lines += ["[TRAINING]", *training.split(", ")]
    return "\n".join(lines) + "\n"


def train(job) -> TrainedModel:
    return fit(job, start_accelerator(job))


def weights_of(trained: TrainedModel) -> torch.Tensor:
    return torch.cat([parameter.detach().flatten() for parameter in trained.classifier.parameters()])


def scripted(scores: list[int]) -> dict[str, str]:
    """A model that gets `scores[epoch]` more of the labels right in evaluation, whatever it learns.

    In evaluation it answers label 0 for the first `scores[epoch]` rows of every batch, and label 1 for the others.
    """
    body = f"""
        if self.training:
            return self.weight.expand(len(input_ids), 3)
        answer = torch.zeros(len(input_ids), 3)
        right = {scores}[self.epoch]
        answer[:right, 0] = 1
        answer[right:, 1] = 1
        self.epoch += 1
        self.marker.fill_(self.epoch)
        return answer
"""
    model = OVERRIDDEN.format(parameters="input_ids, attention_mask", body=body.strip())
    model = model.replace(
        "torch.zeros(3))",
        'torch.zeros(3))\n        self.epoch = 0\n        self.register_buffer("marker", torch.zeros(()))',
    )
    row = {"label": 0, "input_ids": [1, 2], "attention_mask": [1, 1]}
    rows = [{"id": str(number), **row} for number in range(10)]
    return {"model": model, "load_model": "Model()", "validation": rows}


@pytest.mark.parametrize(("batch_size", "class_weights"), [(8, "none"), (8, "balanced"), (10, "balanced")])
def test_what_fits_in_memory_does_not_change_what_is_learned(make_job, token_rows, batch_size, class_weights) -> None:
    # 30 uneven rows: the last effective batch is short, its micro-batches are uneven.
    rows = [row for row in token_rows(60, 1) if row["label"] != 2 or row["id"].endswith("2")][:30]
    learned = []
    for device_batch in (32, 3, 1):
        settings = settings_of(
            f"EPOCHS = 3, BATCH_SIZE = {batch_size}, LEARNING_RATE = 0.01",
            f"MAX_BATCH_PER_DEVICE = {device_batch}, CLASS_WEIGHTS = {class_weights}",
        )
        trained = train(make_job(WITHOUT_DROPOUT, settings=settings, train=rows, name=f"job{device_batch}"))
        learned.append((weights_of(trained), [record.train_loss for record in trained.history.records]))
    for weights, losses in learned[1:]:
        torch.testing.assert_close(weights, learned[0][0], atol=1e-6, rtol=0)
        assert losses == pytest.approx(learned[0][1], abs=1e-6)


def test_a_step_is_the_one_that_plain_torch_takes(make_job, token_rows) -> None:
    job = make_job(
        WITHOUT_DROPOUT,
        settings=settings_of(
            "EPOCHS = 2, BATCH_SIZE = 8, LEARNING_RATE = 0.02, WARMUP_RATIO = 0.25, MAX_GRAD_NORM = 0.05",
            "MAX_BATCH_PER_DEVICE = 5, CLASS_WEIGHTS = balanced",
        ),
        train=token_rows(14, 1) + token_rows(7, 3)[::3],
    )
    trained = train(job)
    rows = EncodedRows.open(job.train, job.encoding, "model")
    torch.manual_seed(42)
    model = job.functions.load_model("model", job.id2label, job.settings.for_model_functions("model"))
    optimizer = torch.optim.AdamW(
        [
            {"params": [model.embedding.weight, model.output.weight], "weight_decay": 0.01},
            {"params": [model.output.bias], "weight_decay": 0.0},
        ]
    )
    loss = nn.CrossEntropyLoss(torch.from_numpy(balanced_class_weights(rows.labels, 3)))
    batches = [batch for epoch in (1, 2) for batch in epoch_batches(rows.lengths, 8, 42, epoch)]
    states = []
    for batch, factor in zip(batches, [0, 1 / 2, 1, 3 / 4, 1 / 2, 1 / 4], strict=True):
        for group in optimizer.param_groups:
            group["lr"] = 0.02 * factor
        inputs = rows.collate(batch, {"input_ids": 0, "attention_mask": 0})
        loss(model(**inputs), torch.from_numpy(rows.labels[batch])).backward()
        nn.utils.clip_grad_norm_(model.parameters(), 0.05)
        optimizer.step()
        optimizer.zero_grad()
        states.append(copy.deepcopy(model.state_dict()))
    expected = states[len(states) // 2 * trained.history.best.epoch - 1]
    torch.testing.assert_close(trained.classifier.module.state_dict(), expected, atol=1e-6, rtol=0)
    assert [record.lr for record in trained.history.records] == pytest.approx([0.02, 0.005])


def test_the_best_epoch_is_kept_when_later_ones_are_worse(make_job) -> None:
    trained = train(make_job(**scripted([3, 8, 5, 8]), settings=settings_of("EPOCHS = 4")))
    assert trained.history.best.epoch == 2
    assert [record.metrics["accuracy"] for record in trained.history.records] == [0.3, 0.8, 0.5, 0.8]
    assert trained.classifier.module.marker == 2
    assert not trained.classifier.training


def test_training_stops_when_nothing_gets_better(make_job, caplog) -> None:
    caplog.set_level(logging.INFO)
    settings = settings_of("EPOCHS = 6", "EARLY_STOPPING_PATIENCE = 2")
    trained = train(make_job(**scripted([3, 2, 5, 5, 4, 9]), settings=settings))
    assert len(trained.history.records) == 5
    assert trained.history.best.epoch == 3
    assert "stopped early: no better f1 for 2 epochs" in caplog.messages


def test_without_patience_every_epoch_is_run(make_job) -> None:
    trained = train(make_job(**scripted([9, 2, 2, 2]), settings=settings_of("EPOCHS = 4")))
    assert len(trained.history.records) == 4


def test_equal_jobs_learn_the_same(make_job) -> None:
    settings = settings_of("EPOCHS = 2, LEARNING_RATE = 0.01, BATCH_SIZE = 8")
    first, second = (train(make_job(settings=settings, name=name)) for name in ("one", "two"))
    assert torch.equal(weights_of(first), weights_of(second))
    assert first.history.records == second.history.records
    other = train(make_job(settings=f"SEED = 7\n{settings}", name="three"))
    assert not torch.equal(weights_of(first), weights_of(other))


@pytest.mark.skipif(not offers_bf16(), reason="needs a device that computes in bf16")
def test_bf16_learns_and_leaves_float32_weights(make_job) -> None:
    settings = settings_of("EPOCHS = 6, LEARNING_RATE = 0.05, BATCH_SIZE = 8", "MIXED_PRECISION = bf16")
    trained = train(make_job(settings=settings))
    assert trained.history.best.metrics["f1"] > 0.7
    inputs = torch.ones(1, 3, dtype=torch.int64)
    assert weights_of(trained).dtype == torch.float32
    assert torch.equal(trained.classifier(inputs, inputs), trained.classifier.module(inputs, inputs))


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without a GPU")
def test_fp16_without_a_gpu_is_refused(make_job) -> None:
    with pytest.raises(SettingsError, match="MIXED_PRECISION = fp16 needs a GPU"):
        train(make_job(settings=settings_of("EPOCHS = 1", "MIXED_PRECISION = fp16")))


def test_labels_never_reach_forward(make_job) -> None:
    body = """
        assert set(inputs) == {"input_ids", "attention_mask"}
        return self.weight + torch.zeros(len(inputs["input_ids"]), 3)"""
    model = OVERRIDDEN.format(parameters="**inputs", body=body.strip())
    assert train(make_job(model, load_model="Model()", settings=settings_of("EPOCHS = 1"))).num_train_rows == 96


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (
            "return self.weight / 0 + torch.zeros(len(input_ids), 3)",
            "the loss became nan on a batch of 32 rows, with ids '1-",
        ),
        ("return torch.zeros(len(input_ids), 3)", "depend on no parameter that can be trained"),
        (
            "return self.weight + torch.zeros(len(input_ids), 3) + (0 if self.training else torch.inf)",
            "logits that are not finite for 30 validation rows, the first of them has the id '2-0'",
        ),
    ],
)
def test_logits_that_nothing_can_be_learned_from_are_reported(make_job, body: str, message: str) -> None:
    model = OVERRIDDEN.format(parameters="input_ids, attention_mask", body=body)
    with pytest.raises(UserFunctionError, match=message):
        train(make_job(model, load_model="Model()"))


def test_a_state_that_cannot_be_saved_is_reported(make_job) -> None:
    body = """return self.weight + torch.zeros(len(input_ids), 3)

    def get_extra_state(self):
        return {"words": 3}

    def set_extra_state(self, state): ..."""
    model = OVERRIDDEN.format(parameters="input_ids, attention_mask", body=body)
    with pytest.raises(UserFunctionError, match="holds a dict as '_extra_state'"):
        train(make_job(model, load_model="Model()"))


def test_batches_of_similar_length_teach_as_well_as_shuffled_ones(token_rows) -> None:
    # The label also shows in the length, which is the hard case: batches of one length are batches of few labels.
    lengths_of = {0: (2, 10), 1: (8, 16), 2: (14, 22)}
    drawn = {label: token_rows(1500, label, low=low, high=high) for label, (low, high) in lengths_of.items()}
    rows = [row for label in drawn for row in drawn[label] if row["label"] == label]
    unseen = token_rows(600, 9)
    lengths = np.array([len(row["input_ids"]) for row in rows])

    def grouped(epoch: int) -> list[np.ndarray]:
        return epoch_batches(lengths, 8, seed=1, epoch=epoch)

    def shuffled(epoch: int) -> list[np.ndarray]:
        order = np.random.default_rng(epoch).permutation(len(rows))
        return np.array_split(order, len(grouped(epoch)))

    accuracies = [_accuracy_after(batches_of, rows, unseen) for batches_of in (shuffled, grouped)]
    assert accuracies[0] > 0.9
    assert accuracies[1] > accuracies[0] - 0.02


def _accuracy_after(batches_of, rows, unseen) -> float:
    torch.manual_seed(1)
    model = nn.Sequential(nn.EmbeddingBag(20, 8), nn.Linear(8, 3))
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.005)

    def bags(chosen):
        offsets = np.cumsum([0, *(len(row["input_ids"]) for row in chosen)])[:-1]
        tokens = torch.tensor([token for row in chosen for token in row["input_ids"]])
        labels = torch.tensor([row["label"] for row in chosen])
        return model[1](model[0](tokens, torch.from_numpy(offsets))), labels

    for epoch in (1, 2, 3):
        for batch in batches_of(epoch):
            nn.functional.cross_entropy(*bags([rows[at] for at in batch])).backward()
            optimizer.step()
            optimizer.zero_grad()
    logits, labels = bags(unseen)
    return float((logits.argmax(1) == labels).float().mean())
