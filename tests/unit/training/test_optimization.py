"""Optimiser, learning rate schedule and class weights."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
import transformers
from torch import nn

from mlpipe.errors import UserFunctionError
from mlpipe.settings import Hyperparameters
from mlpipe.training.optimization import balanced_class_weights, make_optimizer, make_schedule, schedule_factor


def test_the_learning_rate_rises_over_the_warm_up_and_falls_to_zero() -> None:
    factors = [schedule_factor("linear", step, warmup_steps=2, steps=10) for step in range(11)]
    assert factors == [0.0, 0.5, 1.0, 0.875, 0.75, 0.625, 0.5, 0.375, 0.25, 0.125, 0.0]


def test_without_warm_up_the_first_step_has_the_whole_learning_rate() -> None:
    assert schedule_factor("linear", 0, warmup_steps=0, steps=4) == 1.0


@pytest.mark.parametrize("schedule", ["linear", "cosine", "constant"])
@pytest.mark.parametrize("warmup_ratio", [0.0, 0.07, 0.5, 1.0])
def test_the_schedules_are_those_of_transformers(schedule: str, warmup_ratio: float) -> None:
    steps, warmup_steps = 40, math.ceil(warmup_ratio * 40)
    theirs_of = getattr(transformers, f"get_{schedule}_schedule_with_warmup")
    rates = []
    for is_ours in (True, False):
        optimizer = torch.optim.SGD([{"params": [nn.Parameter(torch.zeros(1))], "lr": lr} for lr in (0.5, 0.125)])
        if is_ours:
            following = make_schedule(optimizer, steps, warmup_ratio, schedule)
        else:
            following = theirs_of(optimizer, warmup_steps, *([] if schedule == "constant" else [steps]))
        rates.append([])
        for _ in range(steps + 3):
            rates[-1].append(following.get_last_lr())
            optimizer.step()
            following.step()
    assert rates[0] == rates[1]
    assert [both[1] for both in rates[0]] == pytest.approx([both[0] / 4 for both in rates[0]])


@pytest.mark.parametrize(("ratio", "first_full_step"), [(0.0, 0), (0.1, 1), (0.11, 2), (1.0, None)])
def test_the_warm_up_is_a_share_of_all_steps_rounded_up(ratio: float, first_full_step: int | None) -> None:
    model = nn.Linear(2, 2)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
    schedule = make_schedule(optimizer, 10, ratio)
    rates = []
    for _ in range(10):
        rates.append(schedule.get_last_lr()[0])
        optimizer.step()
        schedule.step()
    assert (rates.index(0.5) if 0.5 in rates else None) == first_full_step


def test_biases_and_norms_do_not_decay_and_frozen_parameters_are_left_out() -> None:
    model = nn.Sequential(nn.Embedding(5, 4), nn.LayerNorm(4), nn.Linear(4, 3), nn.Linear(3, 2))
    model[3].requires_grad_(False)
    optimizer = make_optimizer(model, Hyperparameters(weight_decay=0.3, learning_rate=0.1))
    decays = {id(p): group["weight_decay"] for group in optimizer.param_groups for p in group["params"]}
    found = {name: decays.get(id(parameter)) for name, parameter in model.named_parameters()}
    assert found == {
        "0.weight": 0.3,
        "1.weight": 0.0,
        "1.bias": 0.0,
        "2.weight": 0.3,
        "2.bias": 0.0,
        "3.weight": None,
        "3.bias": None,
    }
    assert {group["lr"] for group in optimizer.param_groups} == {0.1}


def test_lower_layers_have_lower_learning_rates_and_decay_like_the_others() -> None:
    model = nn.ModuleDict(
        {
            "embedding": nn.Embedding(5, 4),
            "layers": nn.ModuleList([nn.Linear(4, 4), nn.Linear(4, 4)]),
            "head": nn.Linear(4, 2),
        }
    )
    model["layers"][0].requires_grad_(False)
    optimizer = make_optimizer(model, Hyperparameters(weight_decay=0.3, learning_rate=0.8, layer_lr_decay=0.5))
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    found = {names[id(p)]: (g["lr"], g["weight_decay"]) for g in optimizer.param_groups for p in g["params"]}
    assert found == {
        "embedding.weight": (0.1, 0.3),
        "layers.1.weight": (0.4, 0.3),
        "layers.1.bias": (0.4, 0.0),
        "head.weight": (0.8, 0.3),
        "head.bias": (0.8, 0.0),
    }
    assert optimizer.param_groups[0]["lr"] == 0.8, "the learning rate that is reported is that of the head"


def test_a_model_without_a_parameter_to_train_is_refused() -> None:
    with pytest.raises(UserFunctionError, match="no parameter to train"):
        make_optimizer(nn.Linear(2, 2).requires_grad_(False), Hyperparameters())


def test_balanced_weights_are_inverse_to_the_frequency() -> None:
    # compute_class_weight("balanced", classes=[0, 1, 2], y=...) of scikit-learn for counts 6, 3, 1.
    weights = balanced_class_weights(np.array([0] * 6 + [1] * 3 + [2]), 3)
    np.testing.assert_allclose(weights, [10 / 18, 10 / 9, 10 / 3], rtol=1e-6)


def test_a_label_without_rows_does_not_change_the_weights_of_the_others() -> None:
    weights = balanced_class_weights(np.array([0, 0, 0, 2]), 3)
    np.testing.assert_allclose(weights, [4 / 6, 0.0, 2.0], rtol=1e-6)
