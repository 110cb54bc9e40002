"""What a processor is found to have, and what that means for an INT8 model."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from convsmith import processor
from convsmith.errors import ConvsmithError
from convsmith.processor import check_target, instructions, largest_weight, native_target


@pytest.fixture(autouse=True)
def _afresh() -> Iterator[None]:
    instructions.cache_clear()
    yield
    instructions.cache_clear()


def pretend(monkeypatch: pytest.MonkeyPatch, machine: str, features: str = "", flags: str = "") -> None:
    monkeypatch.setattr("platform.machine", lambda: machine)
    monkeypatch.setattr(processor, "_numpy_features", lambda: set(features.split()))
    monkeypatch.setattr(processor, "_linux_flags", lambda: set(flags.split()))


@pytest.mark.parametrize(
    ("machine", "features", "flags", "name", "target"),
    [
        ("x86_64", "AVX2 AVX512VNNI", "avx2 avx512_vnni", "avx512-vnni", "vnni"),
        ("x86_64", "AVX2", "avx2 avx_vnni", "avx-vnni", "vnni"),  # Alder Lake
        ("x86_64", "AVX2", "avx2 avx_vnni avx512_vnni", "avx2", None),  # emulated: the flags are the host's
        ("x86_64", "AVX2 AVX512F", "avx2 avx512f", "avx2", None),  # Skylake
        ("AMD64", "AVX2", "", "avx2", None),  # Windows
        ("x86_64", "AVX2 AVX512VNNI", "", "avx512-vnni", "vnni"),  # a Mac of Intel
        ("x86_64", "SSE41", "", "sse", None),
        ("x86_64", "", "avx2 avx512_vnni", "avx512-vnni", "vnni"),  # a numpy that does not tell
        ("arm64", "NEON ASIMDDP", "", "neon-dot", "arm"),  # a Mac
        ("aarch64", "NEON", "", "neon", "arm"),
        ("riscv64", "", "", "riscv64", "arm"),
    ],
)
def test_exact_sums_are_known_by_the_instruction_set(
    monkeypatch: pytest.MonkeyPatch, machine: str, features: str, flags: str, name: str, target: str | None
) -> None:
    pretend(monkeypatch, machine, features, flags)
    assert (instructions(), native_target()) == (name, target)


def test_two_products_of_the_largest_weight_for_any_x86_fit_16_bits() -> None:
    assert 2 * 255 * largest_weight("any-x86") <= np.iinfo(np.int16).max < 2 * 255 * (largest_weight("any-x86") + 2)


@pytest.mark.parametrize("target", ["vnni", "arm"])
def test_what_cannot_be_proved_here_is_refused(monkeypatch: pytest.MonkeyPatch, target: processor.Target) -> None:
    pretend(monkeypatch, "x86_64", "AVX2", "avx2")
    with pytest.raises(ConvsmithError, match=rf"for {target} cannot be proved on this processor.*\(avx2\)\n.*any-x86"):
        check_target(target)


def test_any_x86_can_be_proved_anywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(monkeypatch, "x86_64", "AVX2", "avx2")
    check_target("any-x86")
