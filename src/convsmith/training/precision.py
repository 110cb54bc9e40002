"""Which device a run uses, and in which arithmetic."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Literal

import torch

from convsmith import machine
from convsmith.devices import ACCELERATORS, Accelerator
from convsmith.errors import ConvsmithError
from convsmith.tasks.bfloat16 import has_bfloat16

Precision = Literal["fp32", "bf16", "fp16"]


IS_THERE: dict[str, Callable[[], bool]] = {
    "cuda": lambda: torch.cuda.is_available(),
    "xpu": lambda: torch.xpu.is_available(),
    "mps": lambda: torch.backends.mps.is_available(),
    "cpu": lambda: True,
}
"""Whether torch has each of `ACCELERATORS` here."""


def accelerator(together: bool = False) -> Accelerator:
    """The kind of device that a training computes on: the first of `ACCELERATORS` that torch has here.

    Args:
        together: several processes train, so that it must be one on which they can talk.
    """
    return next(it for name, it in ACCELERATORS.items() if IS_THERE[name]() and (it.group or not together))


def pick_device() -> torch.device:
    """The device of this process: its GPU where there is one, else the CPU."""
    name = accelerator(torch.distributed.is_initialized()).name
    if name in ("cpu", "mps"):  # there is one only
        return torch.device(name)
    return torch.device(name, torch.get_device_module(name).current_device())


def sum_dtype(device: torch.device) -> torch.dtype:
    """The type of sums over many steps: float64 where the device has it."""
    return torch.float64 if ACCELERATORS[device.type].double else torch.float32


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
    if device.type != "cuda":
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
    if device.type != "cpu":
        torch.get_device_module(device).synchronize()


def free_memory(device: torch.device) -> None:
    """Give back the memory that torch keeps of a device for later; on a CPU it keeps none."""
    if device.type != "cpu":
        torch.get_device_module(device).empty_cache()


def device_memory(device: torch.device) -> int:
    """Bytes of memory of the device: a GPU's; for the CPU the machine's, or the container's where that is less."""
    if device.type == "cpu":
        return machine.memory()
    if device.type == "mps":
        return torch.mps.recommended_max_memory()
    return int(torch.get_device_module(device).get_device_properties(device).total_memory)
