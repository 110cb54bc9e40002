"""Batches are for models and machines where they answer more images a second."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from convsmith.bundle.predictor import Bundle, load
from convsmith.serve import batch_trial
from convsmith.serve.batch_trial import ONE_BY_ONE, try_batches


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """No run takes too long for a batch, however busy the machine is."""
    monkeypatch.setattr(batch_trial, "LONGEST", 60)


@pytest.fixture
def bundle(colour_bundle: Path) -> Bundle:
    return load(colour_bundle, 1)


@pytest.fixture
def take(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[int], float]], None]:
    """Lets a run take so many seconds, by its number of images."""
    run = Bundle.logits

    def slow_down(seconds: Callable[[int], float]) -> None:
        def slow(bundle: Bundle, images: NDArray[np.uint8]) -> NDArray[np.float32]:
            time.sleep(seconds(len(images)))
            return run(bundle, images)

        monkeypatch.setattr(Bundle, "logits", slow)

    return slow_down


Take = Callable[[Callable[[int], float]], None]


def test_a_run_that_takes_the_same_time_for_many_images_takes_many(bundle: Bundle, take: Take) -> None:
    take(lambda _: 0.005)
    batches = try_batches(bundle, 1, 4)
    assert batches.most == 4
    assert "up to 4 images that wait run together" in batches.why


def test_a_run_that_takes_longer_for_each_of_many_images_takes_one(bundle: Bundle, take: Take) -> None:
    take(lambda count: 0.001 * count**2)
    batches = try_batches(bundle, 1, 4)
    assert batches.most == 1
    assert "images run one by one: 4 together would be" in batches.why


def test_no_batch_takes_long(bundle: Bundle, take: Take, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batch_trial, "LONGEST", 0.001)
    take(lambda _: 0.005)
    batches = try_batches(bundle, 1, 8)
    assert (batches.most, batches.why[:22]) == (1, "images run one by one,")


def test_a_batch_that_gives_other_answers_is_not_taken(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    run = Bundle.logits
    monkeypatch.setattr(Bundle, "logits", lambda bundle, images: run(bundle, images) + len(images))
    batches = try_batches(bundle, 1, 8)
    assert (batches.most, batches.why) == (1, "images run one by one, as a batch gives other answers")


def test_nothing_is_measured_where_batches_are_not_wanted_or_not_possible(bundle: Bundle, pixel_bundle: Path) -> None:
    assert try_batches(bundle, 1, 1) == ONE_BY_ONE
    assert try_batches(load(pixel_bundle, 1), 1, 8) == ONE_BY_ONE
