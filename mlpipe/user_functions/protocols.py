"""The contracts of the five user functions, for type checkers and for readers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol

from mlpipe.settings import DataFunctionSettings, ModelFunctionSettings


class Reconcile(Protocol):
    """Collect the labelled data."""

    def __call__(self, settings: DataFunctionSettings, /) -> Iterable[Mapping[str, Any]]:
        """Yield one mapping per labelled example.

        Each has a `label` (str or int) and any other columns: a text, numbers, image bytes, a path. Reserved columns:
        `id` (unique; made from the content where absent), `label`, `split` (train, validation or test, honoured where
        present).
        """
        ...


class LoadProcessor(Protocol):
    """Load the tokenizer or image processor of one model."""

    def __call__(self, model_name: str, settings: DataFunctionSettings, /) -> Any:
        """Return an object with `save_pretrained(folder)`, or None where the model needs no processor."""
        ...


class Encode(Protocol):
    """Turn raw columns into the inputs of one model."""

    def __call__(
        self, examples: dict[str, list[Any]], processor: Any, model_name: str, settings: DataFunctionSettings, /
    ) -> Mapping[str, Sequence[Any]]:
        """Return model inputs (a mapping of lists, one entry per example) for a batch of examples (a dict of lists).

        Nothing is padded here: padding belongs to the batch, and mlpipe does it.
        """
        ...


class LoadModel(Protocol):
    """Make one model, pretrained or not."""

    def __call__(self, model_name: str, id2label: dict[int, str], settings: ModelFunctionSettings, /) -> Any:
        """Return a `torch.nn.Module`.

        Its forward takes the encoded inputs by name, each a tensor with the batch first, and returns logits of shape
        (batch, len(id2label)), or an object that has them as `.logits`. Labels are never passed: mlpipe computes the
        loss.
        """
        ...


class OrderedInputKeys(Protocol):
    """Name the inputs of one model in the order of its forward."""

    def __call__(
        self, model_name: str, settings: ModelFunctionSettings, /
    ) -> Sequence[str] | Mapping[str, int | float]:
        """Return the parameter names of `forward()` in order, or a mapping of each name to its padding value.

        Without a mapping every input is padded with 0. The exported TorchScript model takes its inputs in this order.
        """
        ...


FUNCTIONS: Mapping[str, tuple[str, ...]] = {
    "reconcile": ("settings",),
    "load_processor": ("model_name", "settings"),
    "encode": ("examples", "processor", "model_name", "settings"),
    "load_model": ("model_name", "id2label", "settings"),
    "ordered_input_keys": ("model_name", "settings"),
}
"""Every user function with the arguments that it is called with, by position."""
