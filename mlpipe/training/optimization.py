"""What a gradient step is made of: optimiser, learning rate schedule, class weights."""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray

from mlpipe.errors import UserFunctionError
from mlpipe.settings import Hyperparameters
from mlpipe.training.parameters import learning_rate_factors


def make_optimizer(module: torch.nn.Module, hyperparameters: Hyperparameters) -> torch.optim.AdamW:
    """AdamW (Loshchilov and Hutter, 2019, https://arxiv.org/abs/1711.05101) over the parameters that require gradients.

    Parameters with fewer than two axes (biases, weights of norms) do not decay; LAYER_LR_DECAY lowers the learning rate
    of lower layers. Raises UserFunctionError where nothing can be trained, SettingsError as `learning_rate_factors`.
    """
    factors = learning_rate_factors(module, hyperparameters.layer_lr_decay)
    trainable = {name: parameter for name, parameter in module.named_parameters() if parameter.requires_grad}
    if not trainable:
        raise UserFunctionError(
            "the model from load_model has no parameter to train",
            hint="leave requires_grad on for some parameters, and do not let FREEZE match all of them",
        )
    groups: dict[tuple[float, bool], list[torch.nn.Parameter]] = {}
    for name, parameter in trainable.items():
        groups.setdefault((factors[name], parameter.ndim >= 2), []).append(parameter)
    return torch.optim.AdamW(
        [
            {
                "params": groups[factor, is_decaying],
                "lr": hyperparameters.learning_rate * factor,
                "weight_decay": hyperparameters.weight_decay if is_decaying else 0.0,
            }
            for factor, is_decaying in sorted(groups, reverse=True)
        ],
        fused=True,
    )


def make_schedule(
    optimizer: torch.optim.Optimizer, steps: int, warmup_ratio: float, schedule: str = "linear"
) -> torch.optim.lr_scheduler.LambdaLR:
    """The learning rate of each of `steps` optimiser steps: linear warm-up, then what SCHEDULE says.

    The first ceil(warmup_ratio * steps) steps warm up, as in Hugging Face's `TrainingArguments.get_warmup_steps`. All
    groups of the optimiser follow the schedule from their own learning rate.
    """
    warmup_steps = math.ceil(warmup_ratio * steps)
    return torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: schedule_factor(schedule, step, warmup_steps, steps)
    )


def schedule_factor(schedule: str, step: int, warmup_steps: int, steps: int) -> float:
    """The factor on the learning rate in step `step` (from 0) of a linear, cosine or constant schedule.

    transformers' `get_linear_schedule_with_warmup`, `get_cosine_schedule_with_warmup` and
    `get_constant_schedule_with_warmup`.
    """
    if step < warmup_steps:
        return step / max(1, warmup_steps)
    if schedule == "constant":
        return 1.0
    rest = max(1, steps - warmup_steps)
    if schedule == "cosine":
        return max(0.0, 0.5 * (1.0 + math.cos(math.pi * ((step - warmup_steps) / rest))))
    return max(0.0, (steps - step) / rest)


def balanced_class_weights(labels: NDArray[np.int64], num_labels: int) -> NDArray[np.float32]:
    """The weight of each class, n / (K * count): scikit-learn's `compute_class_weight("balanced", ...)`.

    `labels` are class indices (n,), K is the number of classes that occur in them; the others get weight 0.
    """
    counts = np.bincount(labels, minlength=num_labels)
    present = counts > 0
    weights = len(labels) / (present.sum() * np.maximum(counts, 1))
    return np.where(present, weights, 0.0).astype(np.float32)
