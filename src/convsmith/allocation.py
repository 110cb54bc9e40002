"""Memory that the C library keeps for the next step, in place of giving it back to the kernel and asking anew."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Mapping

_SETTINGS = {-4: 0, -1: 2**31 - 1, -2: 2**26}  # glibc's M_MMAP_MAX, M_TRIM_THRESHOLD and M_TOP_PAD


def keep_freed_memory(environment: Mapping[str, str] = os.environ) -> bool:
    """Let this process, and those that are forked from it, keep freed blocks of memory of any size; whether it does.

    glibc maps each large block on its own and gives it back when it is freed. Training and decoding free the same
    blocks at each step, and the kernel would clear their pages again each time. Nothing is changed where the
    environment says how memory is allocated, or where the C library is another one.
    """
    if any(_is_about_memory(name, value) for name, value in environment.items()):
        return False
    try:
        library = ctypes.CDLL(None)
        library.gnu_get_libc_version  # noqa: B018  # only glibc has it; others have a mallopt that does nothing
        mallopt = library.mallopt
    except (AttributeError, OSError, TypeError):
        return False
    return all(mallopt(option, value) for option, value in _SETTINGS.items())


def _is_about_memory(name: str, value: str) -> bool:
    return name.startswith("MALLOC_") or (name in ("GLIBC_TUNABLES", "LD_PRELOAD") and "malloc" in value)
