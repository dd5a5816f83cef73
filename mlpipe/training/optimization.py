"""What a gradient step is made of: optimiser, learning rate schedule, class weights."""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray

from mlpipe.errors import UserFunctionError
from mlpipe.settings import Hyperparameters


def make_optimizer(module: torch.nn.Module, hyperparameters: Hyperparameters) -> torch.optim.AdamW:
    """AdamW (Loshchilov and Hutter, 2019, https://arxiv.org/abs/1711.05101) over the parameters that require gradients.

    Parameters with fewer than two axes (biases, weights of norms) do not decay. Raises UserFunctionError where nothing
    can be trained.
    """
    trainable = [parameter for parameter in module.parameters() if parameter.requires_grad]
    if not trainable:
        raise UserFunctionError(
            "the model from load_model has no parameter to train", hint="leave requires_grad on for some parameters"
        )
    groups = [
        {"params": [p for p in trainable if p.ndim >= 2], "weight_decay": hyperparameters.weight_decay},
        {"params": [p for p in trainable if p.ndim < 2], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(
        [group for group in groups if group["params"]], lr=hyperparameters.learning_rate, fused=True
    )


def make_schedule(
    optimizer: torch.optim.Optimizer, steps: int, warmup_ratio: float
) -> torch.optim.lr_scheduler.LambdaLR:
    """The learning rate of each of `steps` optimiser steps: linear warm-up, then linear decay to 0.

    The first ceil(warmup_ratio * steps) steps warm up, as in Hugging Face's `get_linear_schedule_with_warmup` and
    `TrainingArguments.get_warmup_steps`.
    """
    warmup_steps = math.ceil(warmup_ratio * steps)
    return torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: linear_schedule(step, warmup_steps, steps))


def linear_schedule(step: int, warmup_steps: int, steps: int) -> float:
    """The factor on the learning rate in step `step` (from 0): `transformers.get_linear_schedule_with_warmup`."""
    if step < warmup_steps:
        return step / max(1, warmup_steps)
    return max(0.0, (steps - step) / max(1, steps - warmup_steps))


def balanced_class_weights(labels: NDArray[np.int64], num_labels: int) -> NDArray[np.float32]:
    """The weight of each class, n / (K * count): scikit-learn's `compute_class_weight("balanced", ...)`.

    `labels` are class indices (n,), K is the number of classes that occur in them; the others get weight 0.
    """
    counts = np.bincount(labels, minlength=num_labels)
    present = counts > 0
    weights = len(labels) / (present.sum() * np.maximum(counts, 1))
    return np.where(present, weights, 0.0).astype(np.float32)
