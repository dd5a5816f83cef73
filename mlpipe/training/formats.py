"""Writes a model as TorchScript and as a torch.export program, without what ties the file to this machine and this run.

Both formats keep the example inputs, which are rows of the user's data, and the paths of the source files that they
came from. Neither is needed to run the model, and without them equal models are equal files.
"""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from mlpipe.specs import InputSpec
from mlpipe.training.cases import Lengths, Plan

logger = logging.getLogger(__name__)

DynamicShapes = tuple[dict[int, Any], ...]


def save_torchscript(model: torch.nn.Module, example: tuple[torch.Tensor, ...], path: Path) -> None:
    """Trace `model` (on CPU, in eval mode) at an example and write it; raises as torch.jit.trace does."""
    traced_file = path.with_suffix(".traced")
    with _quiet_torch(), torch.no_grad():
        traced = torch.jit.trace(model, example, check_trace=False)  # type: ignore[no-untyped-call]
        torch.jit.save(traced, traced_file)
    reader, writer = torch._C.PyTorchFileReader(str(traced_file)), torch._C.PyTorchFileWriter(str(path))
    for name in reader.get_all_records():
        if not name.endswith(".debug_pkl") and not name.startswith(("traced_inputs", ".data/")):
            record = reader.get_record(name)
            writer.write_record(name, record, len(record))
    writer.write_end_of_file()
    traced_file.unlink()


def save_torch_export(
    model: torch.nn.Module, example: tuple[torch.Tensor, ...], shapes: DynamicShapes, path: Path
) -> None:
    """Export `model` (on CPU, in eval mode) with one of `dynamic_shapes` and write it; raises as torch.export does."""
    with _quiet_torch(), torch.no_grad():
        program = torch.export.export(model, example, dynamic_shapes=(shapes,), strict=False)
        for module in program.graph_module.modules():
            for node in module.graph.nodes if isinstance(module, torch.fx.GraphModule) else ():
                node.meta.pop("stack_trace", None)
        program.example_inputs = None
        torch.export.save(program, path)


def dynamic_shapes(inputs: tuple[InputSpec, ...], lengths: Lengths, plan: Plan) -> Iterator[DynamicShapes]:
    """What to tell torch.export about the axes of every input, from the most precise to the least.

    First the ranges that are to be covered, then that an axis varies, then that it may; None is as in the example.
    """
    has_lengths = plan.is_seq_dynamic and lengths.short < lengths.longest
    hints: list[tuple[Any, Any]] = [(None, None)]
    if plan.is_batch_dynamic:
        dim = torch.export.Dim
        length = dim("length", min=lengths.short, max=lengths.longest) if has_lengths else None
        hints = [(dim("batch", min=1), length), (dim.DYNAMIC, dim.DYNAMIC), (dim.AUTO, dim.AUTO)]
    for batch, length in hints:
        ragged = {0: batch, 1: length if has_lengths else None}
        yield tuple(ragged if entry.ragged else {0: batch} for entry in inputs)


@contextlib.contextmanager
def _quiet_torch() -> Iterator[None]:
    """Keep what torch has to say while it traces off the console: its warnings and its prints go to the log at debug.

    Whether an export is right is found out by the probe, which knows more than these warnings.
    """
    silenced = logging.root.manager.disable
    # torch's own log handlers write past a redirected stderr.
    logging.disable(logging.CRITICAL)
    printed = io.StringIO()
    try:
        with (
            warnings.catch_warnings(record=True) as caught,
            contextlib.redirect_stdout(printed),
            contextlib.redirect_stderr(printed),
        ):
            warnings.simplefilter("always")
            yield
    finally:
        logging.disable(silenced)
        for warning in caught:
            logger.debug("%s: %s", warning.category.__name__, warning.message)
        logger.debug("%s", printed.getvalue())
