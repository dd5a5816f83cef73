"""The loss: torch's own cross entropy on the whole batch, however it is cut, and the focal loss of its paper."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy

from mlpipe.settings import Hyperparameters
from mlpipe.training.losses import Loss, MultiLabelLoss

CLASS_WEIGHTS = np.array([0.4, 1.0, 2.5, 0.0], dtype=np.float32)


def batch_of(rows: int) -> tuple[torch.Tensor, np.ndarray]:
    """Logits (rows, 4) and labels; the last label occurs in none."""
    generator = np.random.default_rng(rows)
    logits = torch.from_numpy(generator.normal(0, 3, (rows, 4)).astype(np.float32))
    return logits.requires_grad_(), generator.integers(0, 3, rows)


def loss_of(loss: Loss | MultiLabelLoss, logits: torch.Tensor, labels: np.ndarray, pieces: int = 1) -> torch.Tensor:
    """The loss of a batch that is cut into micro-batches."""
    total = loss.weight(labels)
    cuts = np.array_split(np.arange(len(labels)), pieces)
    return torch.stack([loss.sum(logits[cut], torch.from_numpy(labels[cut])) / total for cut in cuts]).sum()


@pytest.mark.parametrize("weights", [np.ones(4, dtype=np.float32), CLASS_WEIGHTS])
@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.9])
@pytest.mark.parametrize("pieces", [1, 3, 17])
def test_micro_batches_add_up_to_torchs_cross_entropy_of_the_whole_batch(weights, smoothing, pieces) -> None:
    logits, labels = batch_of(17)
    mine = loss_of(Loss(weights, label_smoothing=smoothing), logits, labels, pieces)
    (gradient,) = torch.autograd.grad(mine, logits)
    whole = cross_entropy(
        logits, torch.from_numpy(labels), weight=torch.from_numpy(weights), label_smoothing=smoothing, reduction="mean"
    )
    (expected,) = torch.autograd.grad(whole, logits)
    torch.testing.assert_close(mine, whole, atol=1e-6, rtol=0)
    torch.testing.assert_close(gradient, expected, atol=1e-6, rtol=0)


@pytest.mark.parametrize("gamma", [0.5, 2.0, 5.0])
@pytest.mark.parametrize("pieces", [1, 4])
def test_the_focal_loss_is_that_of_its_paper(gamma, pieces) -> None:
    logits, labels = batch_of(11)
    mine = loss_of(Loss(CLASS_WEIGHTS, focal_gamma=gamma), logits, labels, pieces)
    p = logits.detach().double().softmax(dim=1).numpy()[np.arange(11), labels]
    weights = CLASS_WEIGHTS[labels].astype(float)
    expected = (-weights * (1 - p) ** gamma * np.log(p)).sum() / weights.sum()
    assert float(mine.detach()) == pytest.approx(expected, rel=1e-5)


def test_the_focal_loss_counts_sure_rows_less() -> None:
    logits = torch.tensor([[4.0, 0.0], [0.5, 0.0]])
    labels = np.array([0, 0])
    plain, focal = (
        [float(Loss(np.ones(2, np.float32), focal_gamma=gamma).sum(logits[[row]], torch.tensor([0]))) for row in (0, 1)]
        for gamma in (0.0, 2.0)
    )
    assert focal[0] / plain[0] < 0.001 < 0.1 < focal[1] / plain[1]
    assert Loss(np.ones(2, np.float32), focal_gamma=2.0).weight(labels) == 2.0


@pytest.mark.parametrize("gamma", [0.1, 1.0, 2.0])
@pytest.mark.parametrize("logit", [200.0, -200.0])
def test_the_focal_loss_has_a_gradient_where_a_row_is_certain(gamma, logit) -> None:
    logits = torch.tensor([[logit, 0.0]], requires_grad=True)
    loss = Loss(np.ones(2, np.float32), focal_gamma=gamma).sum(logits, torch.tensor([0]))
    loss.backward()
    assert logits.grad is not None
    assert logits.grad.isfinite().all()
    assert float(loss.detach()) == pytest.approx(max(0.0, -logit))


def test_hyperparameters_choose_the_loss() -> None:
    weights = np.ones(3, np.float32)
    chosen = Loss.of(Hyperparameters(label_smoothing=0.2, focal_gamma=1.5), weights)
    assert (chosen.label_smoothing, chosen.focal_gamma) == (0.2, 1.5)
    plain = Loss.of(Hyperparameters(), weights)
    assert (plain.label_smoothing, plain.focal_gamma) == (0.0, 0.0)


def several(rows: int) -> tuple[torch.Tensor, np.ndarray]:
    """Logits (rows, 4), and labels of which a row may have any."""
    generator = np.random.default_rng(rows)
    logits = torch.from_numpy(generator.normal(0, 3, (rows, 4)).astype(np.float32))
    return logits.requires_grad_(), (generator.random((rows, 4)) < 0.4).astype(np.uint8)


@pytest.mark.parametrize("pieces", [1, 3, 17])
def test_micro_batches_of_multi_label_rows_add_up_to_torchs_binary_cross_entropy(pieces) -> None:
    logits, labels = several(17)
    mine = loss_of(MultiLabelLoss(), logits, labels, pieces)
    (gradient,) = torch.autograd.grad(mine, logits)
    whole = binary_cross_entropy_with_logits(logits, torch.from_numpy(labels).float())
    (expected,) = torch.autograd.grad(whole, logits)
    torch.testing.assert_close(mine, whole, atol=1e-6, rtol=0)
    torch.testing.assert_close(gradient, expected, atol=1e-6, rtol=0)


@pytest.mark.parametrize(("smoothing", "gamma"), [(0.2, 0.0), (0.0, 2.0), (0.1, 0.5)])
def test_smoothing_and_focus_hold_for_every_label_by_itself(smoothing, gamma) -> None:
    logits, labels = several(11)
    mine = loss_of(MultiLabelLoss(smoothing, gamma), logits, labels, 2)
    p = logits.detach().double().sigmoid().numpy()
    targets = labels * (1 - smoothing) + smoothing / 2
    entropy = -targets * np.log(p) - (1 - targets) * np.log(1 - p)
    expected = (np.where(labels == 1, 1 - p, p) ** gamma * entropy).mean()
    assert float(mine.detach()) == pytest.approx(expected, rel=1e-5)


def test_the_slope_of_a_sure_multi_label_decision_is_finite() -> None:
    logits = torch.tensor([[200.0, -200.0]], requires_grad=True)
    loss = MultiLabelLoss(focal_gamma=0.5).sum(logits, torch.tensor([[1, 0]], dtype=torch.uint8))
    (gradient,) = torch.autograd.grad(loss, logits)
    assert gradient.isfinite().all()
