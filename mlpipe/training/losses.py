"""What training minimises: cross entropy with class weights, label smoothing and focus on hard rows."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.functional import cross_entropy, log_softmax

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
        # Not 0, where the slope of a power below 1 is infinite and a gradient would be 0 * inf.
        doubt = (-torch.expm1(log_p)).clamp_min(torch.finfo(logits.dtype).tiny)
        return (doubt**self.focal_gamma * rows).sum()
