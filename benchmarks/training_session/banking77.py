"""User functions: a part of banking77, and the demo's pretrained encoder."""

from __future__ import annotations

import csv
from itertools import islice
from pathlib import Path

from transformers import AutoModelForSequenceClassification, AutoTokenizer, logging


def reconcile(settings):
    """Yield the first rows of every second intent, as many as the settings say: their lengths are those of all rows."""
    rows = {}
    with Path(settings.data.sources[0]).open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            rows.setdefault(row["category"], []).append(row["text"])
    for label in islice(rows, 0, None, 2):
        texts = iter(dict.fromkeys(rows[label]))
        for split in ("train", "validation", "test"):
            for text in islice(texts, int(settings.user[f"{split}_ROWS"])):
                yield {"text": text, "label": label, "split": split}


def load_processor(model_name, settings):
    """Return the encoder's tokenizer."""
    return AutoTokenizer.from_pretrained(settings.user["ENCODER"])


def encode(examples, processor, model_name, settings):
    """Turn texts into tokens, not padded."""
    tokens = processor(examples["text"], truncation=True, max_length=128)
    return {"input_ids": tokens["input_ids"], "attention_mask": tokens["attention_mask"]}


def load_model(model_name, id2label, settings):
    """Return the encoder with a new classifier on top."""
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    return AutoModelForSequenceClassification.from_pretrained(settings.user["ENCODER"], num_labels=len(id2label))


def ordered_input_keys(model_name, settings):
    """Name the inputs in order, with their padding values."""
    return {"input_ids": 0, "attention_mask": 0}
