"""The class activation maps of bundles beside the gradients of their models."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

import tests.exporter  # noqa: F401  # warms torch's exporter
from convsmith.analyze.explainer import heat_map, open_explainer
from convsmith.bundle.cam import open_cam
from convsmith.bundle.predictor import load
from convsmith.deploy.bundle import make_bundle
from convsmith.deploy.quantize import quantize_bundle
from convsmith.errors import ConvsmithError
from convsmith.models.base import VisionModel
from convsmith.recipe.load import load_recipe
from tests.colours import LABELS
from tests.exports import write_colours
from tests.models.every import live


@pytest.fixture(scope="module")
def model() -> VisionModel:
    made = live("cifar_resnet20")
    made.reset_head(3)
    return made.eval()


@pytest.fixture(scope="module")
def bundle(model: VisionModel, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("bundles") / "float"
    recipe = load_recipe("cifar_resnet20-cifar10", ["model.num_classes=3", "ema=null"])
    make_bundle(path, model, recipe, labels=LABELS, metrics={}, images=[torch.from_numpy(noise(4))])
    return path


def noise(count: int) -> NDArray[np.uint8]:
    """Images [count, 3, 32, 32], the left half of which is brighter."""
    pixels = np.random.default_rng(0).integers(0, 128, (count, 3, 32, 32), np.uint8)
    pixels[..., :16] += 100
    return pixels


@pytest.mark.parametrize("class_id", [0, 1, 2])
def test_the_map_of_a_bundle_is_the_grad_cam_of_its_model(bundle: Path, model: VisionModel, class_id: int) -> None:
    opened, (seen,) = load(bundle), noise(1)
    cam = open_cam(opened)
    assert cam is not None
    expected = heat_map(opened, seen, class_id, "grad-cam", model)
    np.testing.assert_allclose(cam.heat(seen, class_id), expected, atol=1e-4)


def test_a_bundle_is_explained_by_its_map(bundle: Path) -> None:
    explainer = open_explainer(bundle, "cam")
    found = explainer.explain(noise(1)[0])
    assert (found.method, found.heat.shape) == ("cam", (32, 32))


def test_a_bundle_without_a_map_says_what_to_do(pixel_bundle: Path) -> None:
    with pytest.raises(ConvsmithError, match="has no map of classes") as error:
        open_explainer(pixel_bundle, "cam")
    assert "--method occlusion" in error.value.fix


@pytest.mark.slow
def test_the_map_of_an_int8_bundle_is_nearly_that_of_the_float_one(bundle: Path, tmp_path: Path) -> None:
    quantize_bundle(bundle, write_colours(tmp_path / "data", 12), tmp_path / "int8", images=24, max_drop=100)
    (seen,) = noise(1)
    of_float, of_int8 = (open_cam(load(it)) for it in (bundle, tmp_path / "int8"))
    assert of_float
    assert of_int8
    for class_id in range(3):
        first, second = of_float.heat(seen, class_id), of_int8.heat(seen, class_id)
        assert (not first.any() and not second.any()) or np.corrcoef(first.ravel(), second.ravel())[0, 1] > 0.9
