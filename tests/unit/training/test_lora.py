"""Low-rank adaptation of a model in place."""

from __future__ import annotations

import copy
import logging
import sys

import pytest
import torch
from torch import nn
from transformers import BertConfig, BertForSequenceClassification

from mlpipe.errors import SettingsError
from mlpipe.training.lora import LowRankAdaptation
from mlpipe.training.parameters import freeze, learning_rate_factors

pytest.importorskip("peft", reason="needs the extra lora")

INPUTS = torch.arange(12).reshape(2, 6)


@pytest.fixture
def bert() -> nn.Module:
    torch.manual_seed(1)
    config = BertConfig(
        vocab_size=30, hidden_size=8, num_hidden_layers=2, num_attention_heads=2, intermediate_size=8, num_labels=3
    )
    return BertForSequenceClassification(config).eval()


def trained(module: nn.Module) -> set[str]:
    return {name for name, parameter in module.named_parameters() if parameter.requires_grad}


def test_matrices_in_the_layers_are_trained_and_the_head(bert: nn.Module) -> None:
    before = bert(INPUTS).logits
    LowRankAdaptation(bert, 4)
    head = {name for name in trained(bert) if "lora" not in name}
    assert head == {f"{part}.{kind}" for part in ("bert.pooler.dense", "classifier") for kind in ("weight", "bias")}
    adapted = {name.split(".lora_")[0] for name in trained(bert) - head}
    assert len(adapted) == 2 * 6
    assert "bert.encoder.layer.1.attention.self.query" in adapted
    assert {min(p.shape) for name, p in bert.named_parameters() if "lora" in name} == {4}
    assert torch.equal(bert(INPUTS).logits, before)


def test_a_module_is_not_adapted_because_its_name_ends_like_that_of_a_layer() -> None:
    def layers() -> nn.ModuleList:
        return nn.ModuleList([nn.Linear(4, 4), nn.Linear(4, 4)])

    model = nn.ModuleDict({"layers": layers(), "head": nn.ModuleDict({"layers": layers()[:1]})})
    LowRankAdaptation(model, 2)
    assert {name for name in trained(model) if "lora" not in name} == {"head.layers.0.weight", "head.layers.0.bias"}
    assert not any(name.startswith("head") for name in trained(model) if "lora" in name)


def test_what_was_frozen_stays_frozen(bert: nn.Module) -> None:
    freeze(bert, ["bert.pooler.*"])
    LowRankAdaptation(bert, 2)
    assert {name for name in trained(bert) if "lora" not in name} == {"classifier.weight", "classifier.bias"}


def test_a_merged_model_is_the_trained_one_with_the_names_that_it_had(bert: nn.Module) -> None:
    before = copy.deepcopy(bert.state_dict())
    adaptation = LowRankAdaptation(bert, 2)
    with torch.no_grad():
        for name in trained(bert):
            bert.get_parameter(name).normal_(std=0.3)
    logits = bert(INPUTS).logits
    adaptation.merge()
    after = bert.state_dict()
    assert list(after) == list(before)
    torch.testing.assert_close(bert(INPUTS).logits, logits, atol=1e-5, rtol=0)
    query, words = "bert.encoder.layer.0.attention.self.query.weight", "bert.embeddings.word_embeddings.weight"
    assert not torch.equal(after[query], before[query])
    assert torch.equal(after[words], before[words])


def test_layers_that_are_adapted_still_have_their_learning_rates(bert: nn.Module) -> None:
    LowRankAdaptation(bert, 2)
    factors = learning_rate_factors(bert, 0.5)
    assert factors["bert.encoder.layer.0.output.dense.lora_A.default.weight"] == 0.25
    assert factors["classifier.weight"] == 1.0


def test_a_model_that_has_nothing_to_adapt_is_refused() -> None:
    layers = nn.ModuleList([nn.Conv1d(2, 2, 1), nn.Conv1d(2, 2, 1)])
    with pytest.raises(SettingsError, match="LORA_RANK: the layers in layers have no torch.nn.Linear"):
        LowRankAdaptation(nn.ModuleDict({"layers": layers, "head": nn.Linear(2, 2)}), 2)
    with pytest.raises(SettingsError, match="LORA_RANK needs a model with numbered layers"):
        LowRankAdaptation(nn.Linear(2, 2), 2)


def test_a_missing_peft_is_named(bert: nn.Module, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "peft", None)
    with pytest.raises(SettingsError, match="LORA_RANK needs the package peft") as caught:
        LowRankAdaptation(bert, 2)
    assert "pip install -e '.[lora]'" in caught.value.hint


def test_how_much_is_trained_is_logged(bert: nn.Module, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    LowRankAdaptation(bert, 2)
    assert "LoRA: rank 2 in 12 modules, 483 parameters are trained" in caplog.text
