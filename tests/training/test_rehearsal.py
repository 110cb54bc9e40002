"""What a training would end in is found out before its first step, and changes nothing of it."""

from __future__ import annotations

import logging
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

import convsmith as cs
from convsmith.errors import ConvsmithError
from convsmith.launch.world import World
from convsmith.models import registry
from convsmith.training import rehearsal, train
from convsmith.training.prepare import prepare_training
from convsmith.training.rehearsal import needs_rehearsal, rehearse
from convsmith.training.resume import begin
from convsmith.training.run import Run
from tests.training.conftest import SMALL
from tests.training.ranks import run_ranks, train_tiny
from tests.training.tiny_model import TinyNet, name_tiny

TINY = (*SMALL, "model.name=tiny", "schedule.epochs=1", "schedule.warmup_epochs=0", "checkpoint.every_steps=3")


class Foreign(TinyNet):
    """Computes a Bessel function, which ONNX does not know."""

    def forward_features(self, x: Tensor) -> Tensor:
        features: Tensor = torch.special.i0e(super().forward_features(x))
        return features


@pytest.fixture(autouse=True)
def _tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    name_tiny(monkeypatch)


def train_as_another_librarys(data: Path, out: Path, monkeypatch: pytest.MonkeyPatch, *overrides: str) -> cs.Run:
    monkeypatch.setattr(rehearsal, "is_of_another_library", lambda _name: True)
    return cs.train(cs.load_recipe("digits", [*TINY, *overrides]), data, out)


@pytest.mark.parametrize(
    ("extra", "key"), [([], r"model\.name=tiny"), (["quantization_aware={}"], "quantization_aware")]
)
def test_what_cannot_be_packed_is_refused_before_the_first_step(
    extra: list[str], key: str, digits: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(registry._builders(), "tiny", Foreign)
    with pytest.raises(ConvsmithError, match=key) as refused:
        train_as_another_librarys(digits, tmp_path, monkeypatch, *extra)
    assert refused.value.why
    assert key.replace("\\", "").partition("=")[0] in refused.value.fix
    assert not list(tmp_path.glob("checkpoints/*"))


def test_of_several_processes_all_say_why_they_do_not_begin(digits: Path, tmp_path: Path) -> None:
    one, other = run_ranks(2, train_foreign, digits, tmp_path)
    assert one == other
    assert one.startswith("ConvsmithError 2: quantization_aware does not go with model.name=tiny")


def train_foreign(data: Path, out: Path) -> str:
    return train_tiny(data, out, ("quantization_aware={}",), network=Foreign)


def test_the_run_is_the_same_bit_for_bit(digits: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tried = train_as_another_librarys(digits, tmp_path / "tried", monkeypatch, "ema={decay: 0.5}")
    monkeypatch.setattr(train, "needs_rehearsal", lambda _recipe: False)
    plain = cs.train(cs.load_recipe("digits", [*TINY, "ema={decay: 0.5}"]), digits, tmp_path / "plain")
    for file in ("model", "ema", "optimizer"):
        one, other = (load_file(run.checkpoints / "last" / f"{file}.safetensors") for run in (tried, plain))
        assert all(torch.equal(one[name], tensor) for name, tensor in other.items())


def test_a_run_that_goes_on_is_not_tried_again(digits: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = train_as_another_librarys(digits, tmp_path, monkeypatch)
    shutil.rmtree(run.bundle)
    shutil.rmtree(run.checkpoints / "step-00000006")

    def again(*_: Any) -> None:
        raise AssertionError("tried again")

    monkeypatch.setattr(train, "rehearse", again)
    assert train_as_another_librarys(digits, tmp_path, monkeypatch).bundle.is_dir()


def test_too_little_memory_to_try_is_no_reason_not_to_train(
    digits: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def needs_more(*_: Any) -> None:
        raise MemoryError

    monkeypatch.setattr(rehearsal, "_rehearse", needs_more)
    recipe, dataset, plan = prepare_training(cs.load_recipe("digits", TINY), digits)
    session = begin(recipe, plan, dataset, Run(tmp_path), world=World(), checkpoint=None)
    with caplog.at_level(logging.WARNING):
        rehearse(session)
    assert "too little memory" in caplog.text


@pytest.mark.parametrize(
    ("override", "needed"),
    [
        ("model.name=resnet18", False),
        ("model.name=torchvision/resnet18", True),
        ("model.name=timm/resnet18d", True),
        ("quantization_aware={}", True),
    ],
)
def test_only_what_no_test_vouches_for_is_tried(override: str, needed: bool) -> None:
    assert needs_rehearsal(cs.load_recipe("digits", [override])) == needed
