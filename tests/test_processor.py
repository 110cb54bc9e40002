"""What a processor is found to have, and what that means for an INT8 model."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from convsmith import processor
from convsmith.errors import ConvsmithError
from convsmith.processor import check_target, has_bfloat16, instructions, largest_weight, native_target


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


def test_where_sums_are_exact_a_weight_has_all_8_bits() -> None:
    assert [largest_weight(target) for target in ("any-x86", "vnni", "arm")] == [63, 127, 127]


@pytest.mark.parametrize(
    ("line", "expected"),
    [("flags\t\t: fpu avx512_bf16", True), ("Features\t: fp bf16", True), ("flags\t\t: fpu", False), ("bf16", False)],
)
def test_bfloat16_is_a_flag_of_the_processor(tmp_path: Path, line: str, expected: bool) -> None:
    (tmp_path / "cpuinfo").write_text(f"processor\t: 0\n{line}\n")
    assert has_bfloat16(tmp_path / "cpuinfo") is expected
    assert not has_bfloat16(tmp_path / "nowhere")


def test_numpy_tells_the_features_that_are_there(monkeypatch: pytest.MonkeyPatch) -> None:
    module = SimpleNamespace(__cpu_features__={"AVX2": True, "AVX512F": False})
    monkeypatch.setattr(processor, "import_module", lambda _: module)
    assert processor._numpy_features() == {"AVX2"}
