"""The five functions for a CSV file with the columns `text` and `label`, all in one module.

The model `words` counts words and learns what each speaks for. Any other model name in MODEL_NAMES stands
for the pretrained model that [USER] PRETRAINED names: a folder, or a model of the hub.
"""

from __future__ import annotations

import csv
import re
import zlib
from pathlib import Path

import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer

BUCKETS = 5000


def reconcile(settings):
    """Yield the rows of the file: each is a mapping with a `label` and whatever else the other functions need."""
    with Path(settings.data.sources[0]).open(newline="", encoding="utf-8-sig") as file:
        yield from csv.DictReader(file)


def load_processor(model_name, settings):
    """Return what `encode` needs of the model: its tokenizer, or None."""
    return None if model_name == "words" else AutoTokenizer.from_pretrained(settings.user["PRETRAINED"])


def encode(examples, processor, model_name, settings):
    """Turn a batch of rows into the inputs of the model, without padding."""
    if model_name == "words":
        return {"input_ids": [word_numbers(text) for text in examples["text"]]}
    tokens = processor(examples["text"], truncation=True, max_length=128)
    return {"input_ids": tokens["input_ids"], "attention_mask": tokens["attention_mask"]}


def load_model(model_name, id2label, settings):
    """Return the torch module to train."""
    if model_name == "words":
        return WordWeights(len(id2label))
    return AutoModelForSequenceClassification.from_pretrained(
        settings.user["PRETRAINED"], num_labels=len(id2label), id2label=id2label
    )


def ordered_input_keys(model_name, settings):
    """Name the parameters of forward() in order; shorter rows are filled up with 0."""
    return ["input_ids"] if model_name == "words" else ["input_ids", "attention_mask"]


def word_numbers(text: str) -> list[int]:
    """Give each word a number from 1 to BUCKETS, the same one on every machine; 0 is padding.

    A text without words becomes one number too: no row may be empty.
    """
    return [1 + zlib.crc32(word.encode()) % BUCKETS for word in re.findall(r"\w+", text.lower()) or [""]]


class WordWeights(torch.nn.Module):
    """Logistic regression: one weight for each word and label."""

    def __init__(self, num_labels: int) -> None:
        super().__init__()
        self.weights = torch.nn.Embedding(1 + BUCKETS, num_labels, padding_idx=0)
        torch.nn.init.zeros_(self.weights.weight)

    def forward(self, input_ids: torch.Tensor) -> torch.Tensor:
        """Take words, (batch, words), and return the logits, (batch, labels)."""
        return self.weights(input_ids).sum(dim=1)
