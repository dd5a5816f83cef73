"""What the models are given of a row."""

from __future__ import annotations


def encode(examples, processor, model_name, settings):
    """Turn a batch of rows into a batch of model inputs.

    Texts are cut at MAX_TOKENS and not padded: how far a row has to be padded depends on the rows it later meets.
    """
    tokens = processor(examples["text"], truncation=True, max_length=int(settings.user["MAX_TOKENS"]))
    return {"input_ids": tokens["input_ids"], "attention_mask": tokens["attention_mask"]}
