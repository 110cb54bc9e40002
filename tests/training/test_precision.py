from __future__ import annotations

import pytest
import torch

from convsmith.errors import ConvsmithError
from convsmith.training.precision import autocast, pick_precision

CPU = torch.device("cpu")


@pytest.mark.parametrize(
    ("capabilities", "expected"),
    [({"avx512_bf16": True, "avx2": True}, "bf16"), ({"amx_bf16": False, "avx2": True}, "fp32"), ({}, "fp32")],
)
def test_auto_takes_bf16_only_where_the_cpu_computes_it(
    monkeypatch: pytest.MonkeyPatch, capabilities: dict[str, bool], expected: str
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities)
    assert pick_precision("auto", CPU) == expected


@pytest.mark.parametrize(
    ("native_bf16", "capability", "expected"),
    [(True, (9, 0), "bf16"), (False, (7, 5), "fp16"), (False, (6, 1), "fp32")],
)
def test_auto_takes_bf16_then_fp16_then_fp32_on_gpus_by_age(
    monkeypatch: pytest.MonkeyPatch, native_bf16: bool, capability: tuple[int, int], expected: str
) -> None:
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: native_bf16)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    assert pick_precision("auto", torch.device("cuda")) == expected


def test_fp16_on_a_cpu_is_an_error_that_says_what_to_set() -> None:
    with pytest.raises(ConvsmithError, match="precision=auto"):
        pick_precision("fp16", CPU)


@pytest.mark.parametrize(("precision", "dtype"), [("fp32", torch.float32), ("bf16", torch.bfloat16)])
def test_autocast_computes_in_the_precision(precision: str, dtype: torch.dtype) -> None:
    with autocast(precision, "cpu"):  # type: ignore[arg-type]
        assert torch.nn.Linear(2, 2)(torch.ones(1, 2)).dtype is dtype
