"""Frozen parameters and layer-wise learning rates."""

from __future__ import annotations

import logging

import pytest
from torch import nn
from transformers import BertConfig, BertForSequenceClassification, DistilBertConfig
from transformers import DistilBertForSequenceClassification as DistilBert

from mlpipe.errors import SettingsError
from mlpipe.training.parameters import Layers, freeze, learning_rate_factors


@pytest.fixture
def bert() -> nn.Module:
    config = BertConfig(
        vocab_size=30, hidden_size=8, num_hidden_layers=11, num_attention_heads=2, intermediate_size=8, num_labels=3
    )
    return BertForSequenceClassification(config)


def frozen(module: nn.Module) -> set[str]:
    return {name for name, parameter in module.named_parameters() if not parameter.requires_grad}


def test_what_matches_a_pattern_is_frozen_and_nothing_else(bert: nn.Module) -> None:
    freeze(bert, ["bert.embeddings.*", "bert.encoder.layer.[01].*"])
    names = [name for name, _ in bert.named_parameters()]
    expected = {
        n for n in names if n.startswith(("bert.embeddings.", "bert.encoder.layer.0.", "bert.encoder.layer.1."))
    }
    assert frozen(bert) == expected
    assert "bert.encoder.layer.10.output.dense.weight" not in expected


def test_no_pattern_freezes_nothing(bert: nn.Module) -> None:
    freeze(bert, [])
    assert not frozen(bert)


@pytest.mark.parametrize(
    ("pattern", "near"),
    [
        ("bert.embedings.*", "bert.embeddings.*"),
        ("bert.embeddings", "bert.embeddings.*"),
        ("Bert.Embeddings.*", "bert.embeddings.*"),
        ("clasifier.weight", "classifier.weight"),
        ("???", "classifier.*"),
    ],
)
def test_a_pattern_that_matches_nothing_is_answered_with_near_names(bert: nn.Module, pattern: str, near: str) -> None:
    with pytest.raises(SettingsError, match="FREEZE") as caught:
        freeze(bert, ["classifier.*", pattern])
    assert f"has a name like {pattern}" in caught.value.message
    assert near in caught.value.hint.removeprefix("the nearest are ").split(", ")


def test_a_tied_parameter_is_frozen_by_either_name() -> None:
    model = nn.ModuleDict({"first": nn.Linear(2, 2), "second": nn.Linear(2, 2)})
    model["second"].weight = model["first"].weight
    freeze(model, ["second.weight"])
    assert frozen(model) == {"first.weight"}


def test_the_learning_rate_falls_from_the_head_down_to_the_embeddings(bert: nn.Module) -> None:
    factors = learning_rate_factors(bert, 0.9)
    assert set(factors) == {name for name, _ in bert.named_parameters()}
    assert factors["classifier.weight"] == factors["bert.pooler.dense.bias"] == 1.0
    assert factors["bert.encoder.layer.10.output.dense.weight"] == pytest.approx(0.9)
    assert factors["bert.encoder.layer.2.attention.self.query.bias"] == pytest.approx(0.9**9)
    assert factors["bert.encoder.layer.0.output.LayerNorm.weight"] == pytest.approx(0.9**11)
    assert factors["bert.embeddings.word_embeddings.weight"] == pytest.approx(0.9**12)


def test_what_was_found_is_logged(bert: nn.Module, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    learning_rate_factors(bert, 0.5)
    assert "11 layers in bert.encoder.layer, from 0.000244 of LEARNING_RATE" in caplog.text
    assert "to 1 for bert.pooler.dense, classifier" in caplog.text


def test_the_layers_of_another_architecture_are_found() -> None:
    config = DistilBertConfig(vocab_size=30, dim=8, n_layers=3, n_heads=2, hidden_dim=8, num_labels=2)
    layers = Layers.of(DistilBert(config), "LORA_RANK")
    assert (layers.name, layers.count) == ("distilbert.transformer.layer", 3)
    assert layers.depths["pre_classifier.weight"] == 4


def test_numbers_inside_of_a_layer_are_not_its_number() -> None:
    def block() -> nn.Module:
        return nn.ModuleDict({"mlp": nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 4))})

    model = nn.ModuleDict(
        {
            "stem": nn.Linear(4, 4),
            "blocks": nn.ModuleList([block(), block(), block()]),
            "head": nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 2)),
        }
    )
    factors = learning_rate_factors(model, 0.5)
    assert [factors[f"blocks.{number}.mlp.2.weight"] for number in range(3)] == [0.125, 0.25, 0.5]
    assert (factors["stem.bias"], factors["head.2.weight"]) == (0.0625, 1.0)


def test_numbers_may_have_gaps_and_no_name_before_them() -> None:
    factors = learning_rate_factors(nn.Sequential(nn.Linear(2, 2), nn.ReLU(), nn.Linear(2, 2)), 0.5)
    assert factors == {"0.weight": 0.25, "0.bias": 0.25, "2.weight": 0.5, "2.bias": 0.5}


def test_a_model_without_numbered_layers_is_refused() -> None:
    model = nn.ModuleDict({"embedding": nn.Embedding(3, 2), "layers": nn.ModuleList([nn.Linear(2, 2)])})
    with pytest.raises(SettingsError, match="needs a model with numbered layers") as caught:
        learning_rate_factors(model, 0.9)
    assert "this model has embedding, layers" in caught.value.hint


def test_without_decay_any_model_will_do() -> None:
    assert learning_rate_factors(nn.Linear(2, 2), 1.0) == {"weight": 1.0, "bias": 1.0}
