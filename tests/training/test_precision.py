from __future__ import annotations

from functools import partial

import pytest
import torch

from convsmith.devices import ACCELERATORS
from convsmith.errors import ConvsmithError
from convsmith.training import precision as module
from convsmith.training.precision import accelerator, autocast, pick_device, pick_precision, sum_dtype

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


def let_there_be(patch: pytest.MonkeyPatch, *names: str) -> None:
    """Let torch have these devices, each as number 1 of its kind."""
    for kind in module.IS_THERE:
        patch.setitem(module.IS_THERE, kind, partial((*names, "cpu").__contains__, kind))
    for name in ("cuda", "xpu"):
        patch.setattr(torch.get_device_module(name), "current_device", lambda: 1)


@pytest.mark.parametrize(
    ("there", "expected"),
    [((), "cpu"), (("cuda",), "cuda:1"), (("xpu",), "xpu:1"), (("mps",), "mps"), (("mps", "xpu", "cuda"), "cuda:1")],
)
def test_the_strongest_device_trains(monkeypatch: pytest.MonkeyPatch, there: tuple[str, ...], expected: str) -> None:
    let_there_be(monkeypatch, *there)
    assert pick_device() == torch.device(expected)


@pytest.mark.parametrize(("there", "group"), [("cuda", "nccl"), ("xpu", "xccl"), ("mps", "gloo"), ("cpu", "gloo")])
def test_several_processes_train_where_they_can_talk(monkeypatch: pytest.MonkeyPatch, there: str, group: str) -> None:
    let_there_be(monkeypatch, there)
    assert accelerator(together=True).group == group
    monkeypatch.setattr(torch.distributed, "is_initialized", lambda: True)
    assert pick_device().type == ("cpu" if there == "mps" else there)


@pytest.mark.parametrize(("native", "expected"), [(True, "bf16"), (False, "fp32")])
def test_auto_takes_bf16_on_intels_gpus_that_compute_it(
    monkeypatch: pytest.MonkeyPatch, native: bool, expected: str
) -> None:
    monkeypatch.setattr(torch.xpu, "is_bf16_supported", lambda including_emulation: native)
    assert pick_precision("auto", torch.device("xpu")) == expected


def test_auto_takes_float32_on_apples_gpus() -> None:
    assert pick_precision("auto", torch.device("mps")) == "fp32"


@pytest.mark.parametrize("device", ["cuda", "xpu", "mps"])
def test_fp16_can_be_asked_for_on_every_gpu(device: str) -> None:
    assert pick_precision("fp16", torch.device(device)) == "fp16"


@pytest.mark.parametrize(
    ("device", "dtype"),
    [("cpu", torch.float64), ("cuda", torch.float64), ("xpu", torch.float32), ("mps", torch.float32)],
)
def test_sums_are_float64_where_every_device_of_a_kind_has_it(device: str, dtype: torch.dtype) -> None:
    assert sum_dtype(torch.device(device)) is dtype


def test_what_is_not_the_same_each_time_is_known_of_every_gpu() -> None:
    assert [name for name, it in ACCELERATORS.items() if not it.varies] == ["cpu"]
