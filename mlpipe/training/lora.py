"""Low-rank adaptation: small trained matrices beside large frozen ones, added to them before export."""

from __future__ import annotations

import logging
import re
from typing import Any

import torch

from mlpipe.errors import SettingsError, installation
from mlpipe.training.parameters import Layers

logger = logging.getLogger(__name__)

SCALE = 2
"""What the product of the two matrices is multiplied by; peft calls SCALE * rank `lora_alpha`."""


class LowRankAdaptation:
    """LoRA of a module in place: Hu et al. (2021), https://arxiv.org/abs/2106.09685, by peft.

    Every linear module of the numbered layers is adapted, the head is trained as a whole, and everything else stays as
    it is; so does what was frozen before. At first the module computes what it computed without.
    """

    def __init__(self, module: torch.nn.Module, rank: int) -> None:
        """Raises SettingsError where peft is not installed, or the module has no numbered layers of linear modules."""
        layers = Layers.of(module, "LORA_RANK")
        head = [
            parameter
            for name, parameter in module.named_parameters()
            if layers.depths[name] > layers.count and parameter.requires_grad
        ]
        targets = [
            name
            for name, part in module.named_modules()
            if isinstance(part, torch.nn.Linear) and 0 < layers.depths.get(f"{name}.weight", 0) <= layers.count
        ]
        if not targets:
            raise SettingsError(
                f"[HYPERPARAMETERS] LORA_RANK: the layers in {layers.name} have no torch.nn.Linear to adapt",
                hint="leave LORA_RANK at 0",
            )
        self._adapter = _adapt(module, targets, rank)
        for parameter in head:
            parameter.requires_grad_(True)
        trained = sum(parameter.numel() for parameter in module.parameters() if parameter.requires_grad)
        logger.info("LoRA: rank %d in %d modules, %d parameters are trained", rank, len(targets), trained)

    def merge(self) -> None:
        """Add what was learned to the weights: the module's state has the names and shapes again that it had before."""
        self._adapter.merge_and_unload()


def _adapt(module: torch.nn.Module, targets: list[str], rank: int) -> Any:
    try:
        # Here, because peft takes two seconds to import and belongs to an extra.
        from peft import LoraConfig
        from peft.tuners.lora import LoraModel
    except ModuleNotFoundError as error:
        raise SettingsError(
            "[HYPERPARAMETERS] LORA_RANK needs the package peft", hint=f"{installation('lora')}; or LORA_RANK = 0"
        ) from error
    # As a regular expression: of a list, peft would also take other modules whose names end in one of these.
    exactly = "|".join(re.escape(name) for name in targets)
    configuration = LoraConfig(r=rank, lora_alpha=SCALE * rank, target_modules=exactly)
    return LoraModel(module, {"default": configuration}, "default")
