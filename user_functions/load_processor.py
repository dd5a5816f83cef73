"""How text becomes tokens: both models of the demo read the tokens of the pretrained encoder."""

from __future__ import annotations

from transformers import AutoTokenizer

from .pretrained import encoder_folder


def load_processor(model_name, settings):
    """Return the tokenizer. It is stored beside each trained model, so that the two always stay together."""
    return AutoTokenizer.from_pretrained(encoder_folder())
