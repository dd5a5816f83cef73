"""Real splits on disk and real traced models for them."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from datasets import Dataset, disable_progress_bars
from torch import nn

from mlpipe.batching import EncodedRows
from mlpipe.inference.engine import ExportedModel
from mlpipe.specs import EncodedInput, Encoding, InputSpec, Signature, TaskType, ValidShapes

LABELS = ("animal", "mineral", "plant")
VOCABULARY = 20
PADDING_ID = 7
"""Not 0, and a token that occurs: a model that reads padding as text gives other logits."""

ANY_SHAPE = ValidShapes(
    batch_dynamic=True, seq_dynamic=True, batch_invariant=True, batch_size=2, min_length=1, max_length=16
)
INPUTS = (InputSpec("input_ids", "int64", PADDING_ID, True, ()), InputSpec("attention_mask", "int64", 0, True, ()))


class MeanOfTokens(nn.Module):
    """Ignores padding, takes any shape."""

    def __init__(self, seed: int = 0) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.embedding = nn.Embedding(VOCABULARY, 8)
        self.output = nn.Linear(8, len(LABELS))

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        mask = attention_mask.unsqueeze(-1).float()
        return self.output((self.embedding(input_ids) * mask).sum(1) / mask.sum(1))


@dataclass(frozen=True)
class Snapshot:
    """A test split and the encoding that goes with it."""

    folder: Path
    encoding: Encoding

    def rows(self, model_name: str = "model") -> EncodedRows:
        return EncodedRows.open(self.folder, self.encoding, model_name)


@pytest.fixture
def mean_of_tokens() -> Callable[..., nn.Module]:
    return MeanOfTokens


def make_rows(lengths: Sequence[int]) -> list[dict[str, Any]]:
    rng = np.random.default_rng(0)
    return [
        {
            "id": f"row-{i}",
            "label": int(rng.integers(len(LABELS))),
            "input_ids": rng.integers(1, VOCABULARY, length).tolist(),
            "attention_mask": [1] * length,
        }
        for i, length in enumerate(lengths)
    ]


@pytest.fixture
def token_rows() -> Callable[[Sequence[int]], list[dict[str, Any]]]:
    """Makes one row of random tokens and a random label for each length."""
    return make_rows


@pytest.fixture
def snapshot(tmp_path) -> Callable[..., Snapshot]:
    """Saves rows as a test split; several model names get columns with prefixes."""

    def save(rows: Sequence[Mapping[str, Any]], *, model_names: tuple[str, ...] = ("model",)) -> Snapshot:
        disable_progress_bars()
        keys = [key for key in rows[0] if key not in ("id", "label")]
        lengths = [len(row[keys[0]]) for row in rows]
        described = {key: EncodedInput("int64", True, (), min(lengths), max(lengths)) for key in keys}
        encoding = Encoding(TaskType.SINGLE_LABEL, model_names, LABELS, dict.fromkeys(model_names, described))
        saved = [
            {"id": row["id"], "label": row["label"]}
            | {column: row[key] for name in model_names for key, column in encoding.columns(name).items()}
            for row in rows
        ]
        Dataset.from_list(saved).save_to_disk(tmp_path / "test")
        return Snapshot(tmp_path / "test", encoding)

    return save


@pytest.fixture
def export() -> Callable[..., Path]:
    """Writes what a training job publishes of a model: TorchScript traced at the shape `example`, and documents."""

    def write(
        module: nn.Module,
        folder: Path,
        *,
        example: tuple[int, ...] = (2, 5),
        inputs: tuple[InputSpec, ...] = INPUTS,
        labels: Sequence[str] = LABELS,
        **shapes: Any,
    ) -> Path:
        folder.mkdir(parents=True)
        tensors = tuple(torch.ones(example, dtype=getattr(torch, spec.dtype)) for spec in inputs)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            torch.jit.save(torch.jit.trace(module.eval(), tensors, check_trace=False), str(folder / "model.pt"))
        signature = Signature(folder.name, TaskType.SINGLE_LABEL, inputs, len(labels), replace(ANY_SHAPE, **shapes))
        (folder / "signature.json").write_text(json.dumps(signature.to_json()))
        (folder / "id2label.json").write_text(json.dumps({str(i): label for i, label in enumerate(labels)}))
        return folder

    return write


@pytest.fixture
def exported(tmp_path, export) -> Callable[..., ExportedModel]:
    """A model exported to a folder and loaded from it."""

    def make(module: nn.Module, **options: Any) -> ExportedModel:
        return ExportedModel.load(export(module, tmp_path / "models" / "model", **options))

    return make


@pytest.fixture
def one_by_one() -> Callable[..., np.ndarray]:
    """Logits of the module itself for each row alone and without padding: what the engine has to reproduce."""

    def run(module: nn.Module, rows: Sequence[Mapping[str, Any]]) -> np.ndarray:
        with torch.inference_mode():
            outputs = [
                module.eval()(torch.tensor([row["input_ids"]]), torch.tensor([row["attention_mask"]])) for row in rows
            ]
        return torch.cat(outputs).numpy()

    return run
