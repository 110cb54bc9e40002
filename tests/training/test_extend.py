"""More epochs for a finished run."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

import convsmith as cs
from convsmith.recipe.extra_phase import extra_rate, with_extra_phase
from tests.training.conftest import SMALL

pytestmark = pytest.mark.usefixtures("tiny")

WORDS = (*SMALL, "model.name=tiny", "schedule.epochs=1", "checkpoint.keep=9")


@pytest.fixture(scope="module")
def run(tiny: None, digits: Path, tmp_path_factory: pytest.TempPathFactory) -> cs.Run:
    return cs.train(cs.load_recipe("digits", WORDS), digits, tmp_path_factory.mktemp("runs") / "run")


@pytest.fixture(scope="module")
def extended(run: cs.Run, digits: Path) -> cs.Run:
    copy = shutil.copytree(run.path, run.path.with_name("extended"), symlinks=True)
    return cs.train(cs.load_recipe("digits", WORDS), digits, copy, extend=2)


def test_an_extended_run_is_bit_for_bit_one_that_had_the_extra_phase_from_the_start(
    extended: cs.Run, digits: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("convsmith.training.train.pack", lambda *_: None)
    whole = cs.train(with_extra_phase(cs.load_recipe("digits", WORDS), 2), digits, tmp_path / "whole")
    last = [(it.checkpoints / "last" / "model.safetensors").read_bytes() for it in (extended, whole)]
    assert (extended.checkpoints / "last").resolve().name == "step-00000018"
    assert last[0] == last[1]


def test_the_second_cycle_falls_from_a_tenth_of_the_highest_rate(extended: cs.Run) -> None:
    lr = extended.plan["lr"]
    assert lr[6] == extra_rate(extended.recipe) == pytest.approx(max(lr) / 10, rel=0.01)
    assert lr[6:] == sorted(lr[6:], reverse=True)


def test_the_bundle_is_that_of_the_best_epoch_of_all_and_the_one_before_is_kept(run: cs.Run, extended: cs.Run) -> None:
    best = max(line["top1"] for line in extended.metrics if line["split"] == "val")
    assert cs.load(extended.bundle).manifest.metrics["top1"] == best
    before = cs.load(extended.path / "bundle-before-extra").manifest
    assert before.checksum == cs.load(run.bundle).manifest.checksum


def test_an_extended_run_that_is_finished_stays_as_it_is(extended: cs.Run, digits: Path) -> None:
    lines, manifest = extended.metrics, (extended.bundle / "bundle.json").stat().st_mtime_ns
    cs.train(cs.load_recipe("digits", WORDS), digits, extended.path, extend=2)
    assert (extended.metrics, (extended.bundle / "bundle.json").stat().st_mtime_ns) == (lines, manifest)


def test_a_run_is_extended_once(extended: cs.Run, digits: Path) -> None:
    with pytest.raises(cs.ConvsmithError, match=r"these keys differ: schedule.extra.epochs"):
        cs.train(cs.load_recipe("digits", WORDS), digits, extended.path, extend=3)


def test_more_epochs_of_a_finished_run_are_an_error_that_says_what_can_be_done(run: cs.Run, digits: Path) -> None:
    with pytest.raises(cs.ConvsmithError, match="holds a finished run of 1 epoch:") as refused:
        cs.train(cs.load_recipe("digits", [*WORDS, "schedule.epochs=4"]), digits, run.path)
    assert "For 3 more, in a second cycle from the rate 0.002, give schedule.epochs=1 " in refused.value.fix
    assert "--extend 3" in refused.value.fix
    assert f"--finetune {run.path}" in refused.value.fix


def test_a_run_that_has_steps_left_is_not_extended(
    digits: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("convsmith.training.train.pack", lambda *_: None)
    longer = cs.load_recipe("digits", [*WORDS, "early_stopping={patience: 1, min_delta: 1.0}", "schedule.epochs=3"])
    stopped = cs.train(longer, digits, tmp_path / "run")
    with pytest.raises(cs.ConvsmithError, match=r"12 of the 18 steps of its schedule: it was stopped early"):
        cs.train(longer, digits, stopped.path, extend=2)


@pytest.mark.parametrize("word", ["schedule={name: one_cycle, epochs: 3}", "schedule.extra={epochs: 1, lr: 0.001}"])
def test_a_schedule_that_can_have_no_other_phase_is_an_error(word: str) -> None:
    with pytest.raises(cs.ConvsmithError, match="cannot be extended"):
        with_extra_phase(cs.load_recipe("digits", [word]), 2)
