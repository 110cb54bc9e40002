"""Two processes that were not given the same refuse to train, and say what differs."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

import pytest
import torch
from safetensors.torch import save_file

import convsmith as cs
from convsmith.errors import ConvsmithError
from convsmith.models import registry
from convsmith.training.parallel.distributed import joined
from convsmith.training.prepare import prepare_training
from tests.colours import colour_model, write_colour_bundle
from tests.training.ranks import TINY, run_ranks
from tests.training.tiny_model import TinyNet


@dataclass(frozen=True)
class Given:
    """What a process is given besides what both are."""

    overrides: tuple[str, ...] = ()
    data: str = "digits"
    shard: bool = False
    version: str = ""


def key(one: str, two: str) -> tuple[Given, Given]:
    return Given((one,)), Given((two,))


TEACH = "distillation={teacher: {model: tiny, weights: %s}}"
BUNDLE = "distillation={teacher: {bundle: %s}}"

DIFFERENT: dict[str, tuple[Given, Given]] = {
    "seed": key("seed=0", "seed=1"),
    "eval_every": key("eval_every=1", "eval_every=2"),
    "eval": (Given(("eval=true", "metrics=[]")), Given(("eval=false", "metrics=[]"))),
    "loss.label_smoothing": key("loss.label_smoothing=0", "loss.label_smoothing=0.1"),
    "ema.decay": key("ema.decay=0.9", "ema.decay=0.99"),
    "sampling.name": key("sampling.name=plain", "sampling.name=balanced"),
    "mixing.mixup_alpha": key("mixing.mixup_alpha=0.5", "mixing.mixup_alpha=0.4"),
    "optimizer.lr": key("optimizer.lr=0.1", "optimizer.lr=0.2"),
    "schedule.epochs": key("schedule.epochs=3", "schedule.epochs=4"),
    "checkpoint.every_steps": key("checkpoint.every_steps=2", "checkpoint.every_steps=3"),
    "compile": key("compile=auto", "compile=true"),
    "on_divergence": key("on_divergence=stop", "on_divergence=rollback"),
    "early_stopping.patience": key("early_stopping.patience=1", "early_stopping.patience=2"),
    "content of model.weights": key("model.weights=a.safetensors", "model.weights=b.safetensors"),
    "model.weights": (Given(), Given(("model.weights=a.safetensors",))),
    "content of distillation.teacher.weights": key(TEACH % "a.safetensors", TEACH % "b.safetensors"),
    "content of distillation.teacher.bundle": key(BUNDLE % "bundle-a", BUNDLE % "bundle-b"),
    "file names of data=": (Given(), Given(data="one-less")),
    "content of data=": (Given(), Given(data="repainted")),
    "shard=": (Given(), Given(shard=True)),
    "version of torch": (Given(), Given(version="2.0.0")),
}
ALIKE: dict[str, tuple[Given, Given]] = {
    "the same": (Given(), Given()),
    "a copy of the weights": key("model.weights=a.safetensors", "model.weights=copy-of-a.safetensors"),
    "a copy of the data": (Given(), Given(data="copy")),
    "more loader processes": key("data.workers=0", "data.workers=3"),
}


def answers(folder: Path, cases: dict[str, tuple[Given, Given]]) -> dict[str, str]:
    """What one process is told of each case, "" where nothing is wrong."""
    registry._builders()["tiny"] = TinyNet
    said = {}
    with joined() as world, pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for name, both in cases.items():
            given = both[world.rank]
            recipe = cs.load_recipe("digits", (*TINY, "precision=fp32", *given.overrides))
            with mock.patch(
                "convsmith.training.parallel.agreement.version", lambda _, given=given: given.version or "1"
            ):
                try:
                    prepare_training(recipe, folder / given.data, world, given.shard)
                    said[name] = ""
                except ConvsmithError as error:
                    said[name] = str(error)
    return said


@pytest.fixture(scope="module")
def told(digits: Path, tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, str]]:
    """What each of two processes is told of all cases."""
    folder = tmp_path_factory.mktemp("given")
    for name in ("digits", "one-less", "repainted", "copy"):
        shutil.copytree(digits, folder / name)
    (folder / "one-less/train/0/00.png").unlink()
    shutil.copy(digits / "train/1/00.png", folder / "repainted/train/0/00.png")
    for name, seed in (("a", 0), ("copy-of-a", 0), ("b", 1)):
        torch.manual_seed(seed)
        save_file(TinyNet(4).state_dict(), folder / f"{name}.safetensors")
    for name, inside in (("a", ("images", "logits")), ("b", ("pictures", "logits"))):
        write_colour_bundle(folder / f"bundle-{name}", colour_model(names=inside))
    one, two = run_ranks(2, answers, folder, DIFFERENT | ALIKE)
    return [one, two]


@pytest.mark.parametrize("name", DIFFERENT)
def test_what_differs_is_named_in_both_processes(told: list[dict[str, str]], name: str) -> None:
    assert told[0][name] == told[1][name] != ""
    first, fix = told[0][name].split("\n")
    assert first.startswith("the processes of this training were not given the same: these differ: ")
    assert f" {name} (" in first
    assert fix == "Give every process the same command, the same files and the same versions."


def test_the_processes_are_named_with_what_they_were_given(told: list[dict[str, str]]) -> None:
    assert "these differ: seed (0 in process 0, 1 in process 1)\n" in told[0]["seed"]


@pytest.mark.parametrize("name", ALIKE)
def test_what_no_result_depends_on_may_differ(told: list[dict[str, str]], name: str) -> None:
    assert [it[name] for it in told] == ["", ""]
