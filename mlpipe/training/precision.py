"""Can this machine compute in the number format that the settings ask for?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from mlpipe.errors import SettingsError

NATIVE_BF16 = ("avx512_bf16", "amx_bf16", "bf16")
"""The processor capabilities, of x86 and ARM, to multiply bf16 numbers; without one, float32 is faster."""


def check_precision(mixed_precision: str) -> None:
    """Raise SettingsError where the device that training will use does not compute in MIXED_PRECISION."""
    if mixed_precision == "fp16" and not torch.cuda.is_available():
        raise SettingsError(
            "[TRAINING] MIXED_PRECISION = fp16 needs a GPU, and there is none here", hint="use bf16, or no"
        )
    if mixed_precision == "bf16" and not offers_bf16():
        device = "GPU" if torch.cuda.is_available() else "processor"
        raise SettingsError(
            f"[TRAINING] MIXED_PRECISION = bf16: the {device} of this machine does not compute in bf16",
            hint="use no: bf16 that is emulated is slower than float32",
        )


def is_native_bf16(capabilities: Mapping[str, Any]) -> bool:
    """Whether a processor with these `torch.cpu.get_capabilities()` computes in bf16 itself."""
    return any(capabilities.get(name) for name in NATIVE_BF16)


def offers_bf16() -> bool:
    """Whether the device that training will use computes in bf16."""
    if torch.cuda.is_available():
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    # What Accelerate puts before the processor, such as mps, it checks itself.
    return torch.accelerator.is_available() or is_native_bf16(torch.cpu.get_capabilities())
