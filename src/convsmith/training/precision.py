"""Which device a run uses, and in which arithmetic."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Literal

import torch

from convsmith import machine
from convsmith.errors import ConvsmithError
from convsmith.tasks.bfloat16 import has_bfloat16

Precision = Literal["fp32", "bf16", "fp16"]


def pick_device() -> torch.device:
    """The GPU of this process where there is one, else the CPU."""
    if torch.cuda.is_available():
        return torch.device("cuda", torch.cuda.current_device())
    return torch.device("cpu")


def pick_precision(wanted: Literal["auto", "fp32", "bf16", "fp16"], device: torch.device) -> Precision:
    """The precision to train in: `auto` takes bf16 where it is native, fp16 on older GPUs with tensor cores, else fp32.

    Raises:
        ConvsmithError: fp16 was asked for on a CPU, which cannot train in it.
    """
    if wanted == "fp16" and device.type == "cpu":
        raise ConvsmithError(
            "precision fp16 cannot be used on this machine",
            "fp16 needs loss scaling and a GPU, and there is none",
            "Set precision=auto, bf16 or fp32.",
        )
    if wanted != "auto":
        return wanted
    if has_bfloat16(device):
        return "bf16"
    if device.type == "cpu":
        return "fp32"
    return "fp16" if torch.cuda.get_device_capability(device) >= (7, 0) else "fp32"


def autocast(precision: Precision, device_type: str) -> AbstractContextManager[object]:
    """The context of a forward pass in `precision`; weights stay float32."""
    dtype = torch.float16 if precision == "fp16" else torch.bfloat16
    return torch.autocast(device_type, dtype=dtype, enabled=precision != "fp32")


def set_up(device: torch.device) -> None:
    """Let a GPU compute the same numbers each time, and float32 in TF32, which is as fast as its tensor cores are."""
    if device.type == "cuda":
        torch.backends.cudnn.deterministic = True
        torch.backends.cudnn.allow_tf32 = True
        torch.set_float32_matmul_precision("high")


def wait_for(device: torch.device) -> None:
    """Wait until a device has computed what it was given, so that a clock may be read; a CPU computes at once."""
    if device.type == "cuda":
        torch.cuda.synchronize()


def device_memory(device: torch.device) -> int:
    """Bytes of memory of the device: a GPU's; for the CPU the machine's, or the container's where that is less."""
    if device.type == "cuda":
        return int(torch.cuda.get_device_properties(device).total_memory)
    return machine.memory()
