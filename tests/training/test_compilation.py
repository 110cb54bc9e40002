"""A compiled training is chosen by measurement, once, and goes on as it began."""

from __future__ import annotations

import os
import platform
import signal
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn
from torch._inductor import config as inductor

from convsmith.training import compilation
from tests.training.linear_trainer import CLASSES, SIZE, trainer
from tests.training.ranks import At, run_ranks, train_tiny
from tests.training.test_interrupted import assert_same_run, state_of
from tests.training.tiny_model import TinyNet


def test_a_short_training_is_not_worth_a_trial(digits: Path, tmp_path: Path) -> None:
    assert run_ranks(1, train_tiny, digits, tmp_path, ("schedule.epochs=2",)) == ["finished"]
    assert state_of(tmp_path)["compiled"] is False


def train_as_if_long(data: Path, out: Path, *overrides: str) -> str:
    compilation.WORTH = 0
    return train_tiny(data, out, ("schedule.epochs=2", *overrides))


@pytest.mark.slow
def test_a_long_one_is_tried_and_the_choice_said(digits: Path, tmp_path: Path) -> None:
    assert run_ranks(1, train_as_if_long, digits, tmp_path) == ["finished"]
    assert "compiled: a pass takes" in (tmp_path / "log.txt").read_text()
    assert isinstance(state_of(tmp_path)["compiled"], bool)


@pytest.mark.slow
@pytest.mark.parametrize("compiled", ["auto", "true"])
def test_a_model_that_may_be_compiled_learns_the_features_of_a_teacher(
    digits: Path, tmp_path: Path, compiled: str
) -> None:
    torch.save(TinyNet(4).state_dict(), tmp_path / "teacher.pth")
    teacher = f"{{model: tiny, weights: {tmp_path / 'teacher.pth'}}}"
    changes = (f"distillation={{kind: features, teacher: {teacher}}}", f"compile={compiled}")
    assert run_ranks(1, train_as_if_long, digits, tmp_path / "run", *changes) == ["finished"]
    log = (tmp_path / "run" / "log.txt").read_text()
    assert ("compiled: a pass takes" in log) == (compiled == "auto")
    assert "cannot be compiled" not in log


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CONVSMITH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv(compilation.CACHE_VARIABLE, "")  # so that it is put back
    monkeypatch.delenv(compilation.CACHE_VARIABLE)
    return tmp_path / "cache"


def test_what_is_compiled_is_kept_in_the_cache_by_machine(cache: Path) -> None:
    compilation.keep_what_is_compiled()
    folder = Path(os.environ[compilation.CACHE_VARIABLE])
    assert folder == cache / "compiled" / platform.node()
    assert folder.is_dir()


def test_where_the_user_keeps_it_stands(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(compilation.CACHE_VARIABLE, "elsewhere")
    compilation.keep_what_is_compiled()
    assert os.environ[compilation.CACHE_VARIABLE] == "elsewhere"
    assert not cache.exists()


def test_a_cache_that_cannot_be_written_is_left_to_torch(cache: Path) -> None:
    cache.write_text("a file")
    compilation.keep_what_is_compiled()
    assert compilation.CACHE_VARIABLE not in os.environ


def test_a_compiled_training_keeps_it_and_any_other_writes_nothing(cache: Path, tmp_path: Path) -> None:
    for compiled in ("false", "true"):
        made, _ = trainer(tmp_path / compiled, f"compile={compiled}")
        compilation.choose_compilation(made.session, made.parts)
        assert cache.exists() == (compiled == "true")


def test_a_trial_leaves_the_model_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compilation, "WORTH", 0)
    monkeypatch.setattr(torch, "compile", lambda model: model)
    made, _ = trainer(tmp_path)
    features = 3 * SIZE * SIZE
    model = nn.Sequential(nn.Flatten(), nn.BatchNorm1d(features), nn.Linear(features, CLASSES))
    before = {name: value.clone() for name, value in model.state_dict().items()}
    passes: list[None] = []
    model.register_forward_hook(lambda *_: passes.append(None))
    parts = replace(made.parts, model=model)
    compilation.pays_to_compile(made.session, parts)
    assert len(passes) == 2 * (compilation.WARM_UP + compilation.TIMED)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())


@pytest.mark.slow
def test_what_cannot_be_compiled_is_trained_as_it_is(
    digits: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compilation, "WORTH", compilation.WORTH)  # puts it back
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path / "cache"))
    with inductor.patch({"cpp.cxx": ("/no/such/compiler",)}):  # $CXX is read once, by whoever imports it first
        train_as_if_long(digits, tmp_path / "run")
    assert "cannot be compiled, and is trained as it is" in (tmp_path / "run" / "log.txt").read_text()


@pytest.mark.slow
@pytest.mark.parametrize("count", [1, 2])
def test_a_compiled_run_goes_on_bit_for_bit(digits: Path, tmp_path: Path, count: int) -> None:
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    compiled = ("compile=true", "schedule.epochs=2")
    assert run_ranks(count, train_tiny, digits, whole, compiled) == ["finished"] * count
    assert run_ranks(count, train_tiny, digits, killed, compiled, At(7, signal.SIGKILL)) != ["finished"] * count
    assert run_ranks(count, train_tiny, digits, killed, compiled) == ["finished"] * count
    assert state_of(killed)["compiled"] is True
    assert_same_run(whole, killed)
