"""Texts per second of the demo's MiniLM: mlpipe's inference beside what a user would write with transformers.

    make demo && .venv/bin/python benchmarks/inference.py [RUN_FOLDER]

Every way classifies the same test texts with the same weights on the same threads. The ways take turns, and each one's
best round counts, because other work on a machine only ever slows a round down. mlpipe's figure starts from encoded
rows, as `timing.json` does; `tokenise` is what encoding costs on top.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
from datasets import load_from_disk
from safetensors.torch import load_file
from transformers import AutoModelForSequenceClassification, AutoTokenizer, logging, pipeline

from mlpipe.batching import EncodedRows
from mlpipe.inference.engine import ExportedModel, predict_logits
from mlpipe.specs import Encoding

DEFAULT_RUN = Path("storage/stdlib-docstrings/runs/1")
MODEL = "minilm"
ROUNDS = 3
THREADS = 2


def main() -> None:
    """Print the table."""
    run = Path(sys.argv[1]) if len(sys.argv) > 1 else DEFAULT_RUN
    if not (run / "_SUCCESS").is_file():
        sys.exit(f"{run} is no finished run of the demo; `make demo` makes one")
    torch.set_num_threads(THREADS)
    logging.set_verbosity_error()
    snapshot = json.loads((run / "claim.json").read_text())["fingerprint"]["snapshot"]
    prepared = run.parent.parent / "data" / "prepared" / snapshot
    ways = _ways(run, prepared)
    best = dict.fromkeys(ways, float("inf"))
    count = load_from_disk(str(prepared / "test")).num_rows
    for _ in range(ROUNDS):
        for name, classify in ways.items():
            started = time.perf_counter()
            classify()
            best[name] = min(best[name], time.perf_counter() - started)
    baseline = best["transformers.pipeline, one by one"]
    print(f"{count} texts, {THREADS} threads, best of {ROUNDS} rounds\n{'':44}texts/s   ratio")
    for name, seconds in best.items():
        print(f"{name:44}{count / seconds:7.0f}   {baseline / seconds:5.2f}")


def _ways(run: Path, prepared: Path) -> dict[str, Callable[[], object]]:
    """What is compared, by name; each call classifies every test text once."""
    test = load_from_disk(str(prepared / "test"))
    texts = list(test["text"])
    tokenizer = AutoTokenizer.from_pretrained(run / "models" / MODEL / "processor")
    cut = {"truncation": True, "max_length": 128}
    classify = pipeline("text-classification", model=_eager_model(run), tokenizer=tokenizer, **cut)
    encoding = Encoding.from_json(json.loads((prepared / "encoding" / "encoding.json").read_text()))
    rows = EncodedRows.open(prepared / "test", encoding, MODEL)
    exported = ExportedModel.load(run / "models" / MODEL)
    predict_logits(exported, rows, 512)  # a TorchScript module compiles itself in its first calls
    return {
        "transformers.pipeline, one by one": lambda: [classify(text) for text in texts],
        "transformers.pipeline, batch_size=32": lambda: classify(texts, batch_size=32),
        "mlpipe, sorted, 512 padded tokens a batch": lambda: predict_logits(exported, rows, 512),
        "tokenise": lambda: tokenizer(texts, **cut),
    }


def _eager_model(run: Path) -> torch.nn.Module:
    """The trained model as transformers has it: the demo's architecture with the published weights."""
    sys.path.insert(0, ".")
    from user_functions.pretrained import encoder_folder  # the demo's own functions, in the current folder

    labels = json.loads((run / "models" / MODEL / "id2label.json").read_text())
    model = AutoModelForSequenceClassification.from_pretrained(encoder_folder(), num_labels=len(labels))
    model.load_state_dict(load_file(run / "models" / MODEL / "state_dict.safetensors"))
    return model.eval()


if __name__ == "__main__":
    main()
