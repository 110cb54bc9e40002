"""Every public name has an example in its docstring, and all of them run and give what they show."""

from __future__ import annotations

import doctest
import inspect
import os
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import convsmith as cs
from tests.colours import LABELS, SIDE, write_colour_bundle
from tests.hub import TOKEN, Hub, python, running
from tests.stripes import stripes, write_pixel_bundle

NAMES = [name for name in cs.__all__ if name != "__version__"]
OF_A_TRAINING = {"Run", "ablate", "distil", "export", "lr_find", "make", "profile", "quantize", "report", "train"}
ON_THE_HUB = {"push"}
SLOW = {"compare", "ray"}  # one measures speed, too; one starts a cluster


def examples_of(name: str) -> list[doctest.Example]:
    return doctest.DocTestParser().get_examples(inspect.getdoc(getattr(cs, name)) or "")


def run_examples(name: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run them in that folder; an answer that is another than what is shown fails with both."""
    monkeypatch.chdir(folder)
    names = {"cs": cs, "torch": torch, "Path": Path}
    if name == "ray":
        names["ray"] = pytest.importorskip("ray")
    test = doctest.DocTest(examples_of(name), names, f"cs.{name}", None, None, None)
    said: list[str] = []
    failed, _ = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS).run(test, out=said.append)
    assert not failed, "".join(said)


def write_photos(folder: Path) -> None:
    """Noise in one of three colours, in folders of their names."""
    noise = np.random.default_rng(0)
    for split, count in {"train": 6, "val": 4}.items():
        for place, label in enumerate(LABELS):
            (folder / split / label).mkdir(parents=True)
            for number in range(count):
                pixels = noise.integers(0, 60, (32, 32, 3), np.uint8)
                pixels[..., place] += np.uint8(180)
                Image.fromarray(pixels).save(folder / split / label / f"{number}.png")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with photos and bundles, as a reader may have them."""
    folder = tmp_path_factory.mktemp("examples")
    write_photos(folder / "photos")
    write_colour_bundle(folder / "runs/photos/bundle")
    write_colour_bundle(folder / "runs/other/bundle")
    write_colour_bundle(folder / "runs/labels/bundle", task="multilabel", thresholds=(0.9999,) * 3)
    write_pixel_bundle(folder / "runs/streets/bundle")
    Image.new("RGB", (SIDE, SIDE), (200, 0, 180)).save(folder / "purple.png")
    Image.fromarray(stripes("red", "red", "blue")).save(folder / "street.png")
    return folder


@pytest.fixture(scope="module")
def trained(place: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The same with a run that was trained."""
    folder = tmp_path_factory.mktemp("trained")
    write_photos(folder / "photos")
    before = Path.cwd()
    os.chdir(folder)
    try:
        cs.train("digits", "photos/", "runs/photos", overrides=["model.num_classes=null", "schedule.epochs=1"])
        yield folder
    finally:
        os.chdir(before)


@pytest.mark.parametrize("name", NAMES)
def test_every_public_name_has_an_example(name: str) -> None:
    assert examples_of(name)


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=[pytest.mark.slow] if name in SLOW else [])
        for name in sorted({*NAMES} - OF_A_TRAINING - ON_THE_HUB)
    ],
)
def test_an_example_gives_what_it_shows(name: str, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run_examples(name, place, monkeypatch)


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(OF_A_TRAINING))
def test_an_example_of_a_training_gives_what_it_shows(
    name: str, trained: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_examples(name, trained, monkeypatch)


@pytest.mark.slow
def test_the_example_of_push_gives_what_it_shows(place: Path, tmp_path: Path) -> None:
    (example,) = examples_of("push")
    code = f"import convsmith as cs, os; os.chdir({str(place)!r}); print(repr({example.source.strip()}))"
    with running(Hub({}, "my-team/photos")) as hub:
        told = python(code, hub, tmp_path, HF_TOKEN=TOKEN)
    shown = example.want.strip().split("...")
    assert re.fullmatch(".*".join(map(re.escape, shown)), told.stdout.strip()), told.stderr
