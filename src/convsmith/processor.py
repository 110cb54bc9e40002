"""How a processor adds up products of bytes, which decides how large the weights of an INT8 model may be.

x86 without VNNI multiplies uint8 by int8 with `pmaddubsw`, which adds two products in 16 bits and stops at 32,767: of
activations near 255 and weights near 127 the sum is cut off, and the model's answers are others. VNNI and ARM add in 32
bits.
"""

from __future__ import annotations

import platform
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Literal

from convsmith.errors import ConvsmithError

Target = Literal["any-x86", "vnni", "arm"]
"""Which processors an INT8 model is for: all of them, or only those whose sums are exact."""


def largest_weight(target: Target) -> int:
    """The largest integer that a weight may become: 63 where two products must fit 16 bits, 2 x 255 x 63 < 2**15."""
    return 63 if target == "any-x86" else 127


@cache
def instructions() -> str:
    """Instructions that multiply bytes: `avx512-vnni`, `avx-vnni`, `avx2`, `sse`, `neon-dot`, `neon`, or the machine.

    Numpy asks the processor itself, on every system; what it does not ask for, AVX-VNNI, Linux tells.
    """
    flags, machine = _linux_flags(), platform.machine().lower()
    features = _numpy_features() or {flag.upper().replace("_", "") for flag in flags}
    if machine in ("arm64", "aarch64"):
        return "neon-dot" if "ASIMDDP" in features else "neon"
    if machine not in ("x86_64", "amd64", "x86", "i386", "i686"):
        return machine
    if "AVX512VNNI" in features:
        return "avx512-vnni"
    if "avx_vnni" in flags and "avx512_vnni" not in flags:  # else the flags are those of an emulator's host
        return "avx-vnni"
    return "avx2" if "AVX2" in features else "sse"


def native_target() -> Target | None:
    """The target whose weights use all 8 bits, if this processor's sums are exact; None: they may be cut off."""
    found = instructions()
    return "vnni" if found.endswith("vnni") else None if found in ("avx2", "sse") else "arm"


def has_bfloat16(cpuinfo: Path = Path("/proc/cpuinfo")) -> bool:
    """Whether the processor computes bfloat16 by itself, as far as the system tells.

    Args:
        cpuinfo: Linux's file of flags.
    """
    return any(flag.endswith("bf16") for flag in _linux_flags(cpuinfo))


def check_target(target: Target) -> None:
    """Raise a ConvsmithError if an INT8 model for that target cannot be proved here, because sums may be cut off."""
    if target != "any-x86" and native_target() is None:
        raise ConvsmithError(
            f"an INT8 model for {target} cannot be proved on this processor",
            f"its sums of products stop at 16 bits ({instructions()})",
            "Take the target any-x86, or give the same command on a processor with VNNI or an ARM.",
        )


def _numpy_features() -> set[str]:
    """Features of the processor that numpy has found, by its names; empty where it does not tell."""
    try:
        found = getattr(import_module("numpy._core._multiarray_umath"), "__cpu_features__", {})
    except ImportError:
        return set()
    return {name for name, there in found.items() if there}


def _linux_flags(file: Path = Path("/proc/cpuinfo")) -> set[str]:
    try:
        lines = file.read_text().splitlines()
    except OSError:  # another system
        return set()
    return set(next((line for line in lines if line.startswith(("flags", "Features"))), "").split())
