"""The two models of the demo."""

from __future__ import annotations

from transformers import AutoModelForSequenceClassification, logging

from .convnet import ConvNet
from .load_processor import load_processor
from .pretrained import encoder_folder


def load_model(model_name, id2label, settings):
    """Return the model to train: the pretrained encoder with a new classifier on top, or a small new network."""
    if model_name == "minilm":
        logging.set_verbosity_error()  # that the classifier on top is new is no surprise
        return AutoModelForSequenceClassification.from_pretrained(
            encoder_folder(),
            num_labels=len(id2label),
            id2label=id2label,
        )
    if model_name == "convnet":
        chosen = settings.user_hyperparameters
        return ConvNet(
            vocabulary=len(load_processor(model_name, settings)),
            num_labels=len(id2label),
            embedding_size=chosen["EMBEDDING_SIZE"],
            channels=chosen["CHANNELS"],
            width=chosen["WIDTH"],
            dropout=chosen["DROPOUT"],
        )
    raise ValueError(f"MODEL_NAMES has {model_name!r}; these functions know minilm and convnet")
