"""The user's model behind one calling convention, and what is said where it breaks it."""

from __future__ import annotations

import pytest
import torch

from mlpipe.errors import JobError, UserFunctionError
from mlpipe.training.classifier import (
    compute_logits,
    enough_memory,
    load_classifier,
    padding_values,
    read_inputs,
)

BATCH = {"input_ids": torch.ones(2, 7, dtype=torch.int64), "attention_mask": torch.ones(2, 7, dtype=torch.int64)}

FORWARD = """
from types import SimpleNamespace

class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(3))

    def forward(self, input_ids, attention_mask):
        logits = input_ids.sum(1, keepdim=True) * self.weight
        {body}
"""


def failing(body: str) -> dict[str, str]:
    return {"model": FORWARD.format(body=body), "load_model": "Model()"}


def logits_of(job, batch=BATCH):
    return compute_logits(load_classifier(job, read_inputs(job)), batch, 3, job.functions.code)


def test_inputs_come_in_the_users_order_with_their_padding(make_job) -> None:
    inputs = read_inputs(make_job(keys='{"attention_mask": 0, "input_ids": 5}'))
    assert padding_values(inputs) == {"attention_mask": 0, "input_ids": 5}
    assert [(entry.dtype, entry.ragged, entry.trailing_shape) for entry in inputs] == [("int64", True, ())] * 2


def test_an_input_that_encode_did_not_return_is_named(make_job) -> None:
    job = make_job(keys='["input_ids", "token_type_ids"]')
    with pytest.raises(UserFunctionError, match=r"names 'token_type_ids' for model model") as caught:
        read_inputs(job)
    assert caught.value.hint == "encode() returned input_ids, attention_mask"


def test_a_padding_value_that_the_type_cannot_hold_is_refused(make_job) -> None:
    with pytest.raises(UserFunctionError, match=r"'input_ids' the padding value 0\.5, but its values are int64"):
        read_inputs(make_job(keys='{"input_ids": 0.5}'))


@pytest.mark.parametrize(("value", "shown"), [("None", "None"), ('"model"', "a str"), ("nn.Linear", "a type")])
def test_a_load_model_that_returns_no_module_is_reported(make_job, value: str, shown: str) -> None:
    job = make_job(load_model=value)
    with pytest.raises(UserFunctionError, match=rf"load_model\(\) returned {shown} for model model"):
        load_classifier(job, read_inputs(job))


@pytest.mark.parametrize("body", ["return logits", "return SimpleNamespace(logits=logits)"])
def test_logits_may_be_a_tensor_or_an_attribute(make_job, body: str) -> None:
    assert logits_of(make_job(**failing(body))).tolist() == [[7.0] * 3] * 2


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("return (logits, None)", "returned a tuple"),
        ("return None", "returned None"),
        ("return logits[:, :2]", r"returned logits of shape \(2, 2\), expected \(2, 3\)"),
        ("return logits.mean(0)", r"returned logits of shape \(3,\), expected \(2, 3\)"),
        ("raise ValueError('no such luck')", r"failed at user_functions.py:\d+: ValueError: no such luck"),
    ],
)
def test_a_broken_forward_is_reported_as_the_users(make_job, body: str, message: str) -> None:
    with pytest.raises(UserFunctionError, match=rf"forward\(\) of the model from load_model {message}"):
        logits_of(make_job(**failing(body)))


def test_a_failure_tells_what_forward_was_given(make_job) -> None:
    with pytest.raises(UserFunctionError) as caught:
        logits_of(make_job(**failing("return logits[:, :1]")))
    assert caught.value.hint == "it was given a batch of 2 rows with input_ids (2, 7), attention_mask (2, 7)"


def test_a_forward_that_misses_an_input_is_reported(make_job) -> None:
    job = make_job(**failing("return logits"), keys='["input_ids"]')
    with pytest.raises(UserFunctionError, match="missing 1 required positional argument: 'attention_mask'"):
        logits_of(job, {"input_ids": BATCH["input_ids"]})


def test_a_device_without_memory_is_no_fault_of_the_user(make_job) -> None:
    body = "raise torch.OutOfMemoryError('CUDA out of memory. Tried to allocate 3 GiB.')"
    with pytest.raises(JobError, match="ran out of memory: CUDA out of memory") as caught:
        logits_of(make_job(**failing(body)))
    assert "MAX_BATCH_PER_DEVICE" in caught.value.hint
    with pytest.raises(JobError, match="ran out of memory"), enough_memory():
        raise torch.OutOfMemoryError("in the backward pass")
