"""Tests for a machine with a GPU: `make test-gpu`, about ten minutes. Elsewhere they are skipped.

`CONVSMITH_TEST_DEVICE=cpu make test-gpu` runs them on the CPU, which tests the tests.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

import convsmith as cs
from convsmith.data.demo import write_digits
from convsmith.training import precision

# ResNet-20 on 1,437 digits of 16x16 pixels: 23 steps an epoch.
RECIPE = (
    "augment.random_crop.size=16",
    "preprocess.resize=16",
    "preprocess.crop=16",
    "schedule.epochs=2",
    "data.workers=0",
    "compile=false",
)

Train = Callable[..., cs.Run]
"""Trains the recipe, changed by some overrides, on a device and into a folder of its own."""


@pytest.fixture(scope="session")
def device() -> str:
    """What torch calls the GPU of this machine."""
    found = os.environ.get("CONVSMITH_TEST_DEVICE") or precision.accelerator().name
    if found == "cpu" and "CONVSMITH_TEST_DEVICE" not in os.environ:
        pytest.skip("there is no GPU here that torch computes on")
    return found


@contextmanager
def training_on(device: str) -> Iterator[None]:
    """Let trainings in the block see that device and the CPU only."""
    with pytest.MonkeyPatch.context() as patch:
        for name in precision.IS_THERE.keys() - {device, "cpu"}:
            patch.setitem(precision.IS_THERE, name, lambda: False)
        yield


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The embedded digits."""
    folder = tmp_path_factory.mktemp("data") / "digits"
    write_digits(folder)
    return folder


@pytest.fixture(scope="session")
def train(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Train:
    """A function that trains."""

    def trained(device: str, *overrides: str, out: Path | None = None, **options: Any) -> cs.Run:
        with training_on(device):
            recipe = cs.load_recipe("digits", [*RECIPE, *overrides])
            return cs.train(recipe, data, out or tmp_path_factory.mktemp("runs") / "run", **options)

    return trained


@pytest.fixture(scope="session")
def run(device: str, train: Train) -> cs.Run:
    """A training on the device, in the precision that it likes best."""
    return train(device)
