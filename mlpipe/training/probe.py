"""Runs an exported model the way a stranger would: in a process that knows torch, and nothing of mlpipe or the model.

`python probe.py FOLDER` reads `probe.json` ({"model": path, "cases": number of cases}) and `inputs.safetensors`, where
`<case>.<position>` are the inputs of a case in order, and writes `outputs.safetensors` with the logits of every case
that ran and `errors.json` with what the others raised. This file is run by its path and imports nothing of its package.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file


def load_exported(path: Path) -> Callable[..., torch.Tensor]:
    """An exported model from its file: TorchScript from .pt, torch.export from .pt2."""
    if path.suffix == ".pt2":
        return torch.export.load(path).module()
    model: Callable[..., torch.Tensor] = torch.jit.load(path, map_location="cpu")  # type: ignore[no-untyped-call]
    return model


def run_probe(folder: Path) -> None:
    """Run every case in `folder`; a case that raises does not stop the others."""
    order = json.loads((folder / "probe.json").read_bytes())
    tensors = load_file(folder / "inputs.safetensors")
    model = load_exported(Path(order["model"]))
    outputs, errors = {}, {}
    for case in range(order["cases"]):
        inputs = [tensors[name] for name in sorted(tensors) if name.startswith(f"{case:04d}.")]
        try:
            with torch.no_grad():
                outputs[f"{case:04d}"] = model(*inputs).contiguous()
        except Exception as error:
            errors[f"{case:04d}"] = f"{type(error).__name__}: {error}"
    save_file(outputs, folder / "outputs.safetensors")
    (folder / "errors.json").write_text(json.dumps(errors), encoding="utf-8")


if __name__ == "__main__":
    run_probe(Path(sys.argv[1]))
