"""Cores that idle workers lend: to the call that is alone."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from convsmith.bundle import lending, open_runtime, runtime
from convsmith.bundle.lending import Lending, lending_if_faster
from convsmith.bundle.onnx_work import Work
from convsmith.bundle.predictor import load
from convsmith.bundle.runtime import Runtime

IMAGE = np.zeros((1, 3, 8, 8), np.uint8)
PATIENCE = 30


class Named:
    """A runtime whose answer is its name, and which can be held."""

    def __init__(self, name: float, seconds: float = 0.0) -> None:
        self._name, self._seconds = name, seconds
        self.started, self.go_on = threading.Event(), threading.Event()
        self.go_on.set()

    def run(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        self.started.set()
        assert self.go_on.wait(PATIENCE)
        time.sleep(self._seconds)
        return np.full((len(images), 1), self._name, np.float32)


def test_a_call_that_is_alone_takes_all_cores_and_one_beside_it_its_own() -> None:
    narrow, wide = Named(1), Named(2)
    runtime = Lending(narrow, wide)
    assert runtime.run(IMAGE) == 2
    wide.go_on.clear()
    wide.started.clear()
    first = threading.Thread(target=runtime.run, args=(IMAGE,))
    first.start()
    assert wide.started.wait(PATIENCE)
    assert runtime.run(IMAGE) == 1
    wide.go_on.set()
    first.join(PATIENCE)
    assert runtime.run(IMAGE) == 2


def test_a_model_that_more_threads_do_not_speed_up_is_open_once() -> None:
    narrow: Runtime = Named(1)
    assert lending_if_faster(narrow, Named(2, seconds=0.01), IMAGE) is narrow
    assert isinstance(lending_if_faster(Named(1, seconds=0.01), Named(2), IMAGE), Lending)


def test_more_threads_that_are_kept_from_running_at_first_are_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    narrow, wide = Named(1), Named(2)
    seconds = iter([1.0, 1.0] * 4 + [1.0, 0.5])
    monkeypatch.setattr(lending, "_seconds", lambda *_: next(seconds))
    assert isinstance(lending_if_faster(narrow, wide, IMAGE), Lending)


def test_an_answer_of_less_than_a_millisecond_needs_no_more_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    narrow: Runtime = Named(1)
    seconds = iter([0.0009, 0.0001] * 3)  # a fourth round is an error
    monkeypatch.setattr(lending, "_seconds", lambda *_: next(seconds))
    assert lending_if_faster(narrow, Named(2), IMAGE) is narrow


def test_a_bundle_says_the_same_on_all_cores(colour_bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(open_runtime, "lending_if_faster", lambda narrow, wide, _: Lending(narrow, wide))
    photo = np.random.default_rng(0).integers(0, 256, (20, 30, 3), np.uint8)
    alone, usual = load(colour_bundle, 1, threads_alone=2), load(colour_bundle, 1)
    assert np.array_equal(alone.predict(photo).logits, usual.predict(photo).logits)  # type: ignore[attr-defined]


def test_a_model_that_is_opened_twice_is_weighed_once(colour_bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    weighed = list[Work]()

    def weigh(model: bytes) -> Work:
        weighed.append(Work(model))
        return weighed[-1]

    monkeypatch.setattr(runtime, "Work", weigh)
    load(colour_bundle, 1, threads_alone=2)
    assert len(weighed) == 1


def test_no_second_model_is_opened_where_there_are_no_more_threads(
    colour_bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lending, "_seconds", lambda *_: 1 / 0)
    load(colour_bundle, 2, threads_alone=2)
    load(colour_bundle, 2)
