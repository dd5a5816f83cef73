"""The moving average of the weights."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from mlpipe.training.averaging import WeightAverage


def drifting_model() -> nn.Sequential:
    torch.manual_seed(1)
    return nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3), nn.Linear(3, 2).requires_grad_(False))


def drift(model: nn.Module) -> None:
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter += torch.randn_like(parameter)


def test_it_is_the_average_that_its_formula_says() -> None:
    model = drifting_model()
    average = WeightAverage(model, 0.5)
    expected = model[0].weight.detach().clone()
    for step in range(1, 14):
        drift(model)
        average.update()
        decay = min(0.5, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * model[0].weight.detach()
    with average.applied():
        torch.testing.assert_close(model[0].weight.detach(), expected, atol=1e-6, rtol=0)


def test_after_few_steps_the_first_weights_count_little() -> None:
    model = drifting_model()
    first = model[0].weight.detach().clone()
    average = WeightAverage(model, 0.9999)
    with torch.no_grad():
        model[0].weight.add_(1.0)
    for _ in range(10):
        average.update()
    with average.applied():
        assert float((model[0].weight - first).mean().detach()) > 0.95


def test_the_weights_come_back_bit_for_bit_even_after_an_error() -> None:
    model = drifting_model()
    average = WeightAverage(model, 0.9)
    drift(model)
    average.update()
    own = copy.deepcopy(model.state_dict())

    def fail() -> None:
        with average.applied():
            assert not torch.equal(model[0].weight, own["0.weight"])
            raise ValueError

    with pytest.raises(ValueError):  # noqa: PT011
        fail()
    assert all(torch.equal(value, own[name]) for name, value in model.state_dict().items())


def test_an_average_goes_on_from_its_state_bit_for_bit() -> None:
    averages = []
    for is_interrupted in (False, True):
        model = drifting_model()
        average = WeightAverage(model, 0.9)
        for step in range(8):
            drift(model)
            average.update()
            if step == 4 and is_interrupted:
                state = copy.deepcopy(average.state_dict())
                average = WeightAverage(model, 0.9)
                average.load_state_dict(state)
        with average.applied():
            averages.append(copy.deepcopy(model.state_dict()))
    assert all(torch.equal(value, averages[1][name]) for name, value in averages[0].items())


def test_the_state_holds_plain_numbers_and_tensors_of_what_is_trained() -> None:
    average = WeightAverage(drifting_model(), 0.9)
    average.update()
    state = average.state_dict()
    assert type(state["steps"]) is int
    assert set(state["average"]) == {"0.weight", "0.bias", "1.weight", "1.bias"}
    assert not any(tensor.requires_grad for tensor in state["average"].values())


def test_the_state_of_another_module_is_refused() -> None:
    average = WeightAverage(drifting_model(), 0.9)
    with pytest.raises(KeyError):
        average.load_state_dict(WeightAverage(nn.Linear(2, 3), 0.9).state_dict())
