"""What training minimises: cross entropy with class weights, label smoothing and focus on hard rows.

Of multi-label data, the binary cross entropy of every label by itself, with the same two refinements.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy, log_softmax

from mlpipe.settings import Hyperparameters


@dataclass(frozen=True)
class Loss:
    """The loss of a batch: the `sum` over its rows, over the sum of their class weights, their `weight`.

    So the micro-batches of an effective batch add up to it, however it is cut. `class_weights` are float32 (labels,).
    With `focal_gamma` 0 it is torch's `cross_entropy(weight=..., label_smoothing=..., reduction="mean")`.
    """

    class_weights: NDArray[np.float32]
    label_smoothing: float = 0.0
    focal_gamma: float = 0.0

    @classmethod
    def of(cls, hyperparameters: Hyperparameters, class_weights: NDArray[np.float32]) -> Loss:
        """The loss that the hyperparameters ask for."""
        return cls(class_weights, hyperparameters.label_smoothing, hyperparameters.focal_gamma)

    def weight(self, labels: NDArray[np.int64]) -> float:
        """The sum of the class weights of rows with these class indices."""
        return float(self.class_weights[labels].sum())

    def sum(self, logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """The sum over the rows of float32 logits (rows, labels) with class indices (rows,).

        The focal loss scales each row's cross entropy by (1 - p)^gamma, p being the probability of its label: Lin et
        al., Focal Loss for Dense Object Detection (2017), https://arxiv.org/abs/1708.02002, equation 4.
        """
        weights = torch.from_numpy(self.class_weights).to(logits.device)
        smoothing = self.label_smoothing
        if not self.focal_gamma:
            return cross_entropy(logits, labels, weight=weights, reduction="sum", label_smoothing=smoothing)
        rows = cross_entropy(logits, labels, weight=weights, reduction="none", label_smoothing=smoothing)
        log_p = log_softmax(logits, dim=1).gather(1, labels[:, None])[:, 0]
        return (_doubt(log_p) ** self.focal_gamma * rows).sum()


@dataclass(frozen=True)
class MultiLabelLoss:
    """The loss of a batch of multi-label rows: the `sum` over its rows and labels, over the number of both, `weight`.

    Labels are 1 or 0 for every row and label, (rows, labels). Without refinements it is torch's
    `binary_cross_entropy_with_logits(reduction="mean")`. Label smoothing moves both targets towards 1/2, by half of it.
    """

    label_smoothing: float = 0.0
    focal_gamma: float = 0.0

    def weight(self, labels: NDArray[Any]) -> float:
        """The number of decisions: one for every row and label."""
        return float(labels.size)

    def sum(self, logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """The sum over float32 logits (rows, labels).

        The focal loss scales each decision by (1 - p)^gamma, p being the probability of what is true of it.
        """
        truth = labels.to(logits.dtype)
        targets = truth * (1 - self.label_smoothing) + self.label_smoothing / 2
        if not self.focal_gamma:
            return binary_cross_entropy_with_logits(logits, targets, reduction="sum")
        decisions = binary_cross_entropy_with_logits(logits, targets, reduction="none")
        log_p = -binary_cross_entropy_with_logits(logits, truth, reduction="none")
        return (_doubt(log_p) ** self.focal_gamma * decisions).sum()


def _doubt(log_p: torch.Tensor) -> torch.Tensor:
    """1 - p; not 0, where the slope of a power below 1 is infinite and a gradient would be 0 * inf."""
    return (-torch.expm1(log_p)).clamp_min(torch.finfo(log_p.dtype).tiny)
