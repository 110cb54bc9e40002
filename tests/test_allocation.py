"""Freed memory is kept for the next step, unless the user has decided on it."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
from types import SimpleNamespace

import pytest

from convsmith.allocation import keep_freed_memory

pytestmark = pytest.mark.skipif(
    not hasattr(os, "confstr") or "glibc" not in (os.confstr("CS_GNU_LIBC_VERSION") or ""),
    reason="the C library is not glibc",
)

USE_MEMORY = """
import resource, sys
import numpy as np
from convsmith.allocation import keep_freed_memory
if sys.argv[1] == "keep":
    assert keep_freed_memory()
np.ones(2**26, np.uint8)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(20):
    np.ones(2**26, np.uint8)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def pages_asked_for(way: str, **environment: str) -> int:
    """How often a process that frees 64 MiB twenty times asks the kernel for a page."""
    command = [sys.executable, "-c", USE_MEMORY, way]
    told = subprocess.run(command, env=os.environ | environment, capture_output=True, text=True, check=True)
    return int(told.stdout)


def test_a_block_that_is_freed_again_and_again_is_asked_for_once() -> None:
    assert pages_asked_for("keep") * 10 < pages_asked_for("as it is")


@pytest.mark.parametrize(
    "environment",
    [
        {"MALLOC_TRIM_THRESHOLD_": "100000"},
        {"GLIBC_TUNABLES": "glibc.malloc.mmap_threshold=1000000"},
        {"LD_PRELOAD": "/usr/lib/libjemalloc.so.2"},
    ],
    ids=str,
)
def test_what_the_user_has_set_stands(environment: dict[str, str]) -> None:
    assert not keep_freed_memory(environment)


def test_glibc_is_told_by_the_numbers_of_its_header(monkeypatch: pytest.MonkeyPatch) -> None:
    told = dict[int, int]()

    def mallopt(option: int, value: int) -> int:
        told[option] = value
        return 1

    library = SimpleNamespace(gnu_get_libc_version=None, mallopt=mallopt)
    monkeypatch.setattr(ctypes, "CDLL", lambda _: library)
    assert keep_freed_memory({})
    trim_threshold, top_pad, mmap_max = -1, -2, -4  # of malloc.h
    assert told == {mmap_max: 0, trim_threshold: 2**31 - 1, top_pad: 2**26}
    library.mallopt = lambda *_: 0
    assert not keep_freed_memory({})
    del library.gnu_get_libc_version
    assert not keep_freed_memory({})


@pytest.mark.parametrize("environment", [{"LD_PRELOAD": "/usr/lib/libfast.so"}, {"TOOL": "malloc"}], ids=str)
def test_other_variables_say_nothing_about_memory(environment: dict[str, str]) -> None:
    assert keep_freed_memory(environment)
