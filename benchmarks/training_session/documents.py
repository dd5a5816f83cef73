"""User functions: made documents of log-normal length, and a small BERT that has to learn them from nothing."""

from __future__ import annotations

import numpy as np
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import BertConfig, BertForSequenceClassification, PreTrainedTokenizerFast

TOPICS, WORDS, TYPICAL = 8, 2000, 40
MEDIAN_LENGTH, SIGMA, LONGEST = 64, 0.8, 256


def reconcile(settings):
    """Yield documents of which three words in ten are typical of their topic, the label."""
    generator = np.random.default_rng(settings.seed)
    for split in ("train", "validation", "test"):
        for number in range(int(settings.user[f"{split}_ROWS"])):
            topic = number % TOPICS
            length = int(np.clip(generator.lognormal(np.log(MEDIAN_LENGTH), SIGMA), 4, LONGEST))
            words = generator.integers(WORDS, size=length)
            typical = generator.integers(TYPICAL * topic, TYPICAL * (topic + 1), size=length)
            chosen = np.where(generator.random(length) < 0.3, typical, words)
            yield {"text": " ".join(f"w{word}" for word in chosen), "label": f"topic {topic}", "split": split}


def load_processor(model_name, settings):
    """Return a tokenizer that knows every word of the documents."""
    vocabulary = {"[PAD]": 0, **{f"w{word}": 1 + word for word in range(WORDS)}}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="[PAD]"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    names = ["input_ids", "attention_mask"]
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="[PAD]", model_input_names=names)


def encode(examples, processor, model_name, settings):
    """Turn texts into tokens, not padded."""
    tokens = processor(examples["text"], truncation=True, max_length=LONGEST)
    return {"input_ids": tokens["input_ids"], "attention_mask": tokens["attention_mask"]}


def load_model(model_name, id2label, settings):
    """Return a BERT of 4 layers and 128 units with random weights."""
    size = {"hidden_size": 128, "num_hidden_layers": 4, "num_attention_heads": 4, "intermediate_size": 512}
    config = BertConfig(vocab_size=WORDS + 1, max_position_embeddings=LONGEST, num_labels=len(id2label), **size)
    return BertForSequenceClassification(config)


def ordered_input_keys(model_name, settings):
    """Name the inputs in order, with their padding values."""
    return {"input_ids": 0, "attention_mask": 0}
