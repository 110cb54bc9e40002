"""A training leaves the process that called it as it was, be it a script, a notebook or a thread."""

from __future__ import annotations

import gc
import logging
import multiprocessing
import os
import random
import signal
import sys
import threading
import warnings
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import convsmith as cs
from convsmith.training.observers.base import Observer
from convsmith.training.torch_state import torch_state_kept
from tests.training.conftest import SMALL
from tests.training.test_interrupted import assert_same_run
from tests.training.tiny_model import name_tiny

WORDS = (*SMALL, "model.name=tiny", "schedule.epochs=1", "schedule.warmup_epochs=0", "ema.decay=0.9")
OTHER = ("data.workers=2", "data.max_pixels=300000000", "data.read_timeout=60", "checkpoint.every_steps=2")


@pytest.fixture
def recipe(monkeypatch: pytest.MonkeyPatch) -> cs.Recipe:
    """Trained in well under a second, and not packed."""
    name_tiny(monkeypatch)
    monkeypatch.setattr("convsmith.training.train.pack", lambda *_: None)
    return cs.load_recipe("digits", WORDS)


def state() -> dict[str, Any]:
    """Whatever of this process a training might change."""
    gc.collect()  # files and threads of what earlier tests have left
    package, root = logging.getLogger("convsmith"), logging.getLogger()
    return {
        "generators": (torch.get_rng_state().tolist(), random.getstate(), str(np.random.get_state())),
        "threads of torch": (torch.get_num_threads(), torch.get_num_interop_threads()),
        "settings of torch": (
            torch.are_deterministic_algorithms_enabled(),
            torch.get_float32_matmul_precision(),
            torch.backends.cudnn.deterministic,
            torch.backends.cudnn.benchmark,
            torch.backends.cudnn.allow_tf32,
            torch.is_grad_enabled(),
            torch.get_default_dtype(),
        ),
        "logging": (package.level, [*package.handlers], package.propagate, root.level, [*root.handlers]),
        "signals": [signal.getsignal(number) for number in signal.valid_signals()],
        "variables": dict(os.environ),
        "files": sorted(path.name for path in Path("/proc/self/fd").iterdir())
        if Path("/proc/self/fd").is_dir()
        else [],
        "threads": sorted(thread.name for thread in threading.enumerate()),
        "processes": multiprocessing.active_children(),
        "streams": (sys.stdout, sys.stderr),
        "path": [*sys.path],
        "warnings": [*warnings.filters],
        "folder": Path.cwd(),
        "Pillow": Image.MAX_IMAGE_PIXELS,
    }


def changed(before: dict[str, Any], after: dict[str, Any]) -> dict[str, Any]:
    """What differs; of threads and files, what there is more of: those of an earlier test may end in between."""
    more = {key: Counter(after[key]) - Counter(before[key]) for key in ("threads", "files")}
    others = {key: (before[key], after[key]) for key in before if key not in more and before[key] != after[key]}
    return {**others, **{key: found for key, found in more.items() if found}}


@pytest.mark.parametrize("words", [(), OTHER], ids=["alone", "with workers and limits"])
def test_a_training_leaves_the_process_as_it_was(
    recipe: cs.Recipe, digits: Path, tmp_path: Path, words: tuple[str, ...]
) -> None:
    cs.train(recipe, digits, tmp_path / "first")  # what is imported and started once is there by now
    before = state()
    cs.train(recipe, digits, tmp_path / "second", overrides=words)
    assert changed(before, state()) == {}


def test_so_does_one_that_fails(recipe: cs.Recipe, digits: Path, tmp_path: Path) -> None:
    cs.train(recipe, digits, tmp_path / "first")
    before = state()
    with pytest.raises(cs.ConvsmithError):
        cs.train(recipe, digits, tmp_path / "first", resume="never", overrides=OTHER)
    assert changed(before, state()) == {}


def test_a_second_training_is_what_it_would_be_alone(recipe: cs.Recipe, digits: Path, tmp_path: Path) -> None:
    torch.manual_seed(5)
    cs.train(recipe, digits, tmp_path / "first", overrides=["seed=3", "mixing={mixup_alpha: 0.2}"])
    torch.rand(3)
    for name in ("second", "third"):
        cs.train(recipe, digits, tmp_path / name)
    assert_same_run(tmp_path / "second", tmp_path / "third")


def test_trainings_in_threads_take_turns_and_are_what_they_would_be_alone(
    recipe: cs.Recipe, digits: Path, tmp_path: Path
) -> None:
    cs.train(recipe, digits, tmp_path / "alone")
    with ThreadPoolExecutor(2) as pool:
        runs = [*pool.map(lambda name: cs.train(recipe, digits, tmp_path / name), ("one", "other"))]
    for run in runs:
        assert_same_run(tmp_path / "alone", run.path)


def test_who_waits_for_another_thread_says_so(caplog: pytest.LogCaptureFixture) -> None:
    held, done = threading.Event(), threading.Event()

    def hold() -> None:
        with torch_state_kept():
            held.set()
            done.wait(60)

    holder = threading.Thread(target=hold)
    holder.start()
    held.wait(60)
    threading.Timer(0.2, done.set).start()
    with torch_state_kept():
        assert done.is_set()
    holder.join()
    assert "another thread of this process is training" in caplog.text


class _Interrupt(Observer):
    def progress(self, phase: str, done: int, total: int) -> None:
        if phase == "train" and done >= 2 * 8:
            signal.raise_signal(signal.SIGINT)


def test_ctrl_c_in_the_main_thread_saves_and_the_same_call_goes_on(
    recipe: cs.Recipe, digits: Path, tmp_path: Path
) -> None:
    recipe = cs.load_recipe("digits", [*WORDS, "checkpoint.every_steps=2"])
    cs.train(recipe, digits, tmp_path / "whole")
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(cs.ConvsmithError, match="stopped by SIGINT after step 2 of 6"):
            cs.train(recipe, digits, tmp_path / "run", observers=[_Interrupt()])
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGINT, before)
    cs.train(recipe, digits, tmp_path / "run")
    assert_same_run(tmp_path / "whole", tmp_path / "run")
    assert len([*(tmp_path / "run/tensorboard").iterdir()]) == 2


def test_a_bundle_predicts_in_several_threads(colour_bundle: Path) -> None:
    from tests.colours import picture

    bundle, names = cs.load(colour_bundle), ["red", "green", "blue"] * 20
    with ThreadPoolExecutor(4) as pool:
        answers = pool.map(lambda name: cs.predict(bundle, picture(name))[0].label, names)
    assert [*answers] == names
