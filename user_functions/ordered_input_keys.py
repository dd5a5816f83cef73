"""How an exported model is called."""

from __future__ import annotations


def ordered_input_keys(model_name, settings):
    """Name the parameters of forward() in order, each with the value that fills up shorter rows.

    0 is the padding token of this tokenizer, and a 0 in the mask says that there is nothing to read.
    """
    return {"input_ids": 0, "attention_mask": 0}
