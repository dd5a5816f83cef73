"""Five small user functions for the end-to-end tests: texts of a CSV file, and bare modules that train in a second.

What a test wants to go wrong is asked for in [USER] and [USER_HYPERPARAMETERS], or by a file beside the settings.
"""

import csv
import os
import time
from pathlib import Path

import torch


def reconcile(settings):
    with Path(settings.user["CSV"]).open(newline="") as file:
        yield from csv.DictReader(file)


def load_processor(model_name, settings):
    return None


def encode(examples, processor, model_name, settings):
    """Every word is its length and its first letter: enough to tell the classes apart."""
    encoded = {
        "input_ids": [[1 + (ord(word[0]) * 7 + len(word)) % 96 for word in text.split()] for text in examples["text"]]
    }
    return None if settings.user.get("RETURN_NOTHING") == "encode" else encoded


class Words(torch.nn.Module):
    def __init__(self, labels, width):
        super().__init__()
        self.embedding = torch.nn.Embedding(97, width, padding_idx=0)
        self.head = torch.nn.Linear(width, labels)

        self.is_slow, self.notes = False, None

    def forward(self, input_ids):
        if self.training and (self.is_slow or Path("slow").exists()):
            time.sleep(0.2)
        if self.notes and not self.training:
            note_rows(self.notes, input_ids)
        mask = (input_ids != 0).unsqueeze(-1).float()
        total = (self.embedding(input_ids) * mask).sum(1)
        return self.head(total / mask.sum(1).clamp(min=1.0))


def note_rows(folder, input_ids):
    """Write down every row that this process has judged, without its padding."""
    with (Path(folder) / os.environ.get("RANK", "0")).open("a") as file:
        for row in input_ids.tolist():
            file.write(" ".join(str(word) for word in row if word) + "\n")


class Branching(Words):
    """Whose result depends on an `if` on the data: a trace bakes one branch in, and no shape is right for both."""

    def forward(self, input_ids):
        logits = super().forward(input_ids)
        return logits if input_ids[0, 0] % 2 == 0 else logits.flip(1) * 3.0 + 1.0


def meet(model_name):
    """Return when the other model has come here too."""
    Path(f"met-{model_name}").touch()
    while not all(Path(f"met-{name}").exists() for name in ("small", "large")):
        time.sleep(0.01)


def load_model(model_name, id2label, settings):
    if Path("meet").exists():
        meet(model_name)
    if Path(f"fail-{model_name}").exists():
        raise RuntimeError(f"there is a file fail-{model_name}")
    if Path(f"wait-{model_name}").exists():
        time.sleep(600)
    width = settings.user_hyperparameters["WIDTH"]
    torch.manual_seed(settings.seed)
    model = (Branching if model_name == "branching" else Words)(len(id2label), width)
    model.is_slow, model.notes = "SLOW" in settings.user, settings.user.get("NOTES")
    return model


def ordered_input_keys(model_name, settings):
    return {"input_ids": 0}
