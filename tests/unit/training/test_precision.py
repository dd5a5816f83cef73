"""Number formats that a machine does not compute in are refused."""

from __future__ import annotations

from types import MappingProxyType

import pytest
import torch

from mlpipe.errors import SettingsError
from mlpipe.training.precision import check_precision, is_native_bf16

without_gpu = pytest.mark.skipif(torch.accelerator.is_available(), reason="needs a machine without a GPU")


@pytest.mark.parametrize(
    ("capabilities", "is_native"),
    [
        ({"architecture": "x86_64", "avx512_f": True, "avx512_bf16": True}, True),
        ({"architecture": "x86_64", "avx512_bf16": False, "amx_bf16": True}, True),
        ({"architecture": "arm64", "bf16": True}, True),
        ({"architecture": "x86_64", "avx2": True, "avx512_f": True, "avx512_vnni": True, "avx512_bf16": False}, False),
        ({"architecture": "arm64", "bf16": False, "neon": True}, False),
        ({}, False),
    ],
)
def test_a_processor_computes_in_bf16_when_it_has_the_instructions(capabilities, is_native) -> None:
    assert is_native_bf16(capabilities) is is_native


@without_gpu
def test_bf16_is_refused_where_it_would_be_emulated(monkeypatch: pytest.MonkeyPatch) -> None:
    old = MappingProxyType({"architecture": "x86_64", "avx2": True})
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: old)
    with pytest.raises(SettingsError, match="MIXED_PRECISION = bf16: the processor of this machine does not") as caught:
        check_precision("bf16")
    assert "use no" in caught.value.hint
    check_precision("no")


@without_gpu
def test_the_capabilities_of_this_processor_decide() -> None:
    if is_native_bf16(torch.cpu.get_capabilities()):
        check_precision("bf16")
    else:
        with pytest.raises(SettingsError, match="does not compute in bf16"):
            check_precision("bf16")


@without_gpu
def test_fp16_needs_a_gpu() -> None:
    with pytest.raises(SettingsError, match="fp16 needs a GPU"):
        check_precision("fp16")
