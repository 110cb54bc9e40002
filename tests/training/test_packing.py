"""Whatever kind of model is trained in whatever way: one step of it ends in a bundle that predicts."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from unittest.mock import patch

import numpy as np
import pytest
from numpy.random import RandomState
from PIL import Image

import convsmith as cs
from convsmith.models.registry import is_of_another_library
from convsmith.recipe.schema import Recipe
from tests.training.ranks import run_ranks
from tests.training.scenes import scenes_recipe, write_scenes

CLASSIFIERS = [
    "cifar_resnet20", "resnet18", "resnet50 se=true", "resnext50_32x4d",
    "mobilenet_v2", "resnest50", "resnest50_fast_1s1x64d", "convnext_tiny", "convnext_isotropic_small", "hrnet_w18",
    "torchvision/resnet18", "torchvision/alexnet", "torchvision/squeezenet1_1", "torchvision/shufflenet_v2_x0_5",
    "torchvision/regnet_y_400mf", "torchvision/mobilenet_v3_small", "torchvision/efficientnet_b0",
    "torchvision/mnasnet0_5", "torchvision/googlenet",
    "timm/resnet18d", "timm/test_resnet", "timm/vit_tiny_patch16_224", "timm/test_convnext", "timm/test_efficientnet",
    "timm/mobilenetv3_small_050", "timm/regnetx_002", "timm/ghostnet_050", "timm/repvgg_a0",
]  # fmt: skip
SEGMENTERS = [
    "hrnet_w18_seg", "hrnet_w18_ocr", "resnet18_fcn", "resnet18_upernet", "resnest50_upernet",
    "convnext_tiny_upernet", "hrnet_w18_upernet", "timm/test_convnext_upernet",
    "torchvision/lraspp_mobilenet_v3_large", "torchvision/deeplabv3_mobilenet_v3_large",
]  # fmt: skip
WAYS = {
    "plain": [],
    # a tenth of one step is no measure of what the model sees
    "int8": ["quantization_aware={range_momentum: 1.0}"],
    "embeddings": ["bundle.embeddings=true"],
    "int8 with embeddings": ["quantization_aware={range_momentum: 1.0}", "bundle.embeddings=true"],
    "ema": ["ema={decay: 0.5}"],
    "shard": [],
}
SAME = ("ema", "shard", "int8 with embeddings")  # what is tried is that of `plain` or `int8`
QUICK = {("cifar_resnet20", "plain"), ("timm/test_resnet", "int8 with embeddings")}
FIXED_SIZE = {"torchvision/alexnet": 224, "timm/vit_tiny_patch16_224": 224}


def every(names: list[str]) -> pytest.MarkDecorator:
    """Each name in each way; all but a few are slow."""
    return pytest.mark.parametrize(
        ("name", "way"),
        [
            pytest.param(name, way, marks=[] if (name, way) in QUICK else pytest.mark.slow)
            for name in names
            for way in WAYS
        ],
    )


def overrides(name: str, way: str) -> list[str]:
    """One step on four images, which moves the weights but little."""
    name, *options = name.split()
    step = ["sampling.fraction=0.34", "batch.size=4", "batch.per_device=auto", "schedule.epochs=1", "optimizer.lr=1e-6"]
    # with less a deep network is judged by statistics of nothing, and overflows; with more by images that look alike
    seen = "model.batch_norm_momentum=0.5"
    return [
        f"model.name={name}",
        *(f"model.options.{option}" for option in options),
        *step,
        seen,
        "data.workers=0",
        *WAYS[way],
    ]


def train(recipe: Recipe, data: Path, out: Path, way: str) -> None:
    # whether packing is tried in vain before the training shows in the other ways
    with patch("convsmith.training.train.needs_rehearsal", return_value=False) if way in SAME else nullcontext():
        cs.train(recipe, data, out, shard=way == "shard")


def trained_bundle(recipe: Recipe, data: Path, out: Path, way: str) -> cs.Bundle:
    if way == "shard":
        assert run_ranks(2, train, recipe, data, out, way) == [None, None]
    else:
        train(recipe, data, out, way)
    bundle = cs.load(out / "bundle")
    assert (bundle.manifest.model.get("quantization") is not None) == way.startswith("int8")
    return bundle


def assert_embedded_and_explained(bundle: cs.Bundle, image: Path, way: str) -> None:
    """Whatever can be trained gives embeddings where it is asked for them, and says where it looked."""
    if "embeddings" in way:
        assert bundle.embed(image).shape == (bundle.manifest.embeddings,)
        (found,) = cs.explain(bundle.path.parent, image)
        assert not isinstance(found, cs.ImageError)
        assert found.heat.shape == found.image.shape[:2]


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve images of noise in three classes to train with, and three to validate."""
    root, random = tmp_path_factory.mktemp("photos"), RandomState(0)
    for number in range(15):
        folder = root / ("train" if number < 12 else "val") / "abc"[number % 3]
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(random.randint(0, 256, (80, 90, 3), np.uint8)).save(folder / f"{number}.png")
    return root


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_scenes(tmp_path_factory.mktemp("scenes"))


@every(CLASSIFIERS)
def test_a_classifier_that_took_one_step_is_packed_and_predicts(
    name: str, way: str, photos: Path, tmp_path: Path
) -> None:
    side = FIXED_SIZE.get(name, 64)
    size = [f"augment.random_crop.size={side}", f"preprocess.resize={side}", f"preprocess.crop={side}"]
    recipe = cs.load_recipe(
        "digits", [*size, "schedule.warmup_epochs=0", "model.num_classes=null", *overrides(name, way)]
    )
    bundle, image = trained_bundle(recipe, photos, tmp_path / "run", way), next((photos / "val" / "a").iterdir())
    assert bundle.predict(image).to_dict()["label"] in ("a", "b", "c")
    assert_embedded_and_explained(bundle, image, way)


@every(SEGMENTERS)
def test_a_segmenter_that_took_one_step_is_packed_and_predicts(
    name: str, way: str, scenes: Path, tmp_path: Path
) -> None:
    crop = "augment.random_scale_crop={size: [64, 96], scale: [0.75, 1.5], scale_step: 0}"
    recipe = scenes_recipe(tmp_path, "ema=null", crop, "preprocess.base_size=96", *overrides(name, way))
    image = scenes / "images/val/00.png"
    bundle = trained_bundle(recipe, scenes, tmp_path / "run", way)
    with Image.open(image) as picture:
        assert bundle.predict(image).to_dict()["size"] == [picture.height, picture.width]
    assert_embedded_and_explained(bundle, image, way)


def test_twenty_models_of_other_libraries_are_among_them() -> None:
    assert sum(map(is_of_another_library, [*CLASSIFIERS, *SEGMENTERS])) >= 20
