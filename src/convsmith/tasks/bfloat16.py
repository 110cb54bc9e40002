"""Which devices compute in bfloat16."""

from __future__ import annotations

import torch


def has_bfloat16(device: torch.device) -> bool:
    """Whether the device computes bfloat16 by itself; emulated, it is slower than float32."""
    if device.type == "cuda":
        native: bool = torch.cuda.is_bf16_supported(including_emulation=False)
        return native
    if device.type == "xpu":
        return torch.xpu.is_bf16_supported(including_emulation=False)
    if device.type == "mps":  # no faster there
        return False
    return any(there and name.endswith("bf16") for name, there in torch.cpu.get_capabilities().items())
