"""What a proof takes as labelled, and what it says of an artefact."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from PIL import Image

from convsmith.analyze.prove import prove
from convsmith.bundle.format import read_manifest
from convsmith.bundle.runtime import OnnxRuntime
from convsmith.deploy.parity import FLOAT32
from tests.colours import LABELS, SIDE, colour_model


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of images."""
    folder = tmp_path_factory.mktemp("plain")
    for name in LABELS:
        Image.new("RGB", (SIDE, SIDE), {"green": "lime"}.get(name, name)).save(folder / f"{name}.png")
    return folder


@pytest.fixture(scope="module")
def classes(plain: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same in a folder for each class."""
    folder = tmp_path_factory.mktemp("classes")
    for name in LABELS:
        (folder / name).mkdir()
        shutil.copy(plain / f"{name}.png", folder / name)
    return folder


def proof(bundle: Path, data: Path, images: int = 8) -> dict[str, float]:
    runtime = OnnxRuntime(colour_model())
    return prove(runtime, runtime, read_manifest(bundle), data, tolerance=FLOAT32, images=images)


def test_images_alone_have_no_labels(colour_bundle: Path, plain: Path) -> None:
    figures = proof(colour_bundle, plain)
    assert (figures["images"], figures["top1_agreement"]) == (3, 1.0)
    assert "top1" not in figures


def test_folders_of_classes_judge_both(colour_bundle: Path, classes: Path) -> None:
    figures = proof(colour_bundle, classes)
    assert (figures["trained_top1"], figures["top1"]) == (1.0, 1.0)


def test_an_image_beside_folders_of_classes_makes_them_no_less_labelled(
    colour_bundle: Path, classes: Path, tmp_path: Path
) -> None:
    data = shutil.copytree(classes, tmp_path / "data")
    shutil.copy(classes / "red" / "red.png", data)
    assert proof(colour_bundle, data)["top1"] == 1.0


def test_at_most_so_many_images_are_looked_at(colour_bundle: Path, plain: Path) -> None:
    assert proof(colour_bundle, plain, images=2)["images"] == 2
