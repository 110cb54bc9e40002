"""The published CIFAR ResNet-20 on real images, in torch and from its bundle."""

from __future__ import annotations

import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

import convsmith as cs
from convsmith.data.folders.image_folder import open_labelled_folder
from convsmith.data.index import Index
from convsmith.data.loading.loader import val_loader
from convsmith.data.read_image import ValidationImages
from convsmith.deploy.bundle import make_bundle
from convsmith.deploy.onnx_export import inference_model
from convsmith.spec import Preprocess
from tests.data.folders import path_of

CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
OFFICIAL_RIGHT = 4051


@pytest.fixture(scope="module")
def shared(test_data: Path) -> Path:
    return test_data / "data"


@pytest.fixture(scope="module")
def val(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("cifar10")
    with tarfile.open(shared / "cifar10.tar.gz") as archive:
        members = [member for member in archive if member.name.startswith("cifar10/val/")]
        archive.extractall(root, members, filter="data")
    return root / "cifar10"


@pytest.fixture(scope="module")
def model(shared: Path) -> torch.nn.Module:
    model = cs.create_model("cifar_resnet20")
    cs.load_weights(model, shared / "cifar_resnet20.th")
    return model


@pytest.fixture(scope="module", params=[5, pytest.param(1, marks=pytest.mark.slow)], ids=["a fifth", "all"])
def asked(request: pytest.FixtureRequest, val: Path) -> Index:
    """Images that are asked about, each fifth or all."""
    index, _ = open_labelled_folder(val, CLASSES)
    return index.select(np.arange(0, len(index), request.param))


@pytest.fixture(scope="module")
def torch_answers(model: torch.nn.Module, asked: Index) -> NDArray[np.int64]:
    """The class that torch gives to each image."""
    preprocess = cs.load_recipe("cifar_resnet20-cifar10").preprocess
    assert isinstance(preprocess, Preprocess)
    exact = inference_model(model, preprocess)
    with torch.inference_mode():
        batches = val_loader(asked, ValidationImages(asked, preprocess), 250, workers=0)
        answers = [exact(batch.images).argmax(1) for batch in batches]
    return torch.cat(answers).numpy()


@pytest.fixture(scope="module")
def bundle(model: torch.nn.Module, val: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    recipe = cs.load_recipe("cifar_resnet20-cifar10")
    index, _ = open_labelled_folder(val, CLASSES)
    assert isinstance(recipe.preprocess, Preprocess)
    batches = val_loader(index, ValidationImages(index, recipe.preprocess), 50, workers=0)
    images = (batch.images for batch, _ in zip(batches, range(4), strict=False))
    path = tmp_path_factory.mktemp("bundles") / "official"
    make_bundle(path, model, recipe, labels=CLASSES, metrics={}, images=images)
    return path


def test_torch_gets_as_many_images_right_as_the_official_code(torch_answers: NDArray[np.int64], asked: Index) -> None:
    right = (torch_answers == asked.targets).mean()
    chance = 1 / 5000 if len(asked) == 5000 else 0.03  # of a fifth of them it gets a few more or fewer
    assert right == pytest.approx(OFFICIAL_RIGHT / 5000, abs=chance)


def test_the_bundle_gives_images_the_class_that_torch_gives(
    bundle: Path, asked: Index, torch_answers: NDArray[np.int64]
) -> None:
    opened: cs.Bundle[cs.Classification] = cs.load(bundle)
    answers = opened.predict_many(path_of(asked, i) for i in range(len(asked)))
    given = [answer.class_id for answer in answers if not isinstance(answer, Exception)]
    assert given == torch_answers.tolist()


@pytest.mark.slow  # a second pass of the same bundle over the same images; other data show what evaluate counts
@pytest.mark.parametrize("asked", [1], indirect=True)
def test_evaluate_counts_the_same(bundle: Path, val: Path, torch_answers: NDArray[np.int64], asked: Index) -> None:
    evaluation = cs.evaluate(bundle, val)
    assert round(evaluation.top1 * evaluation.images) == int((torch_answers == asked.targets).sum())
