from __future__ import annotations

import math
from importlib.resources import files

import pytest

from convsmith.recipe.load import list_recipes, load_recipe
from convsmith.recipe.optimization import Cosine, Sgd

LIBRARY = files("convsmith.recipe") / "library"


def test_the_recipes_are_listed_in_order_and_without_bases() -> None:
    assert list_recipes() == [
        "cifar_resnet20-cifar10",
        "cifar_resnet20-cifar10-short",
        "cifar_resnet56-cifar10",
        "digits",
        "resnet18-folder",
        "resnet18-in1k",
        "resnet50-in1k",
    ]


def test_a_pattern_picks_recipes() -> None:
    assert list_recipes("resnet*-in1k") == ["resnet18-in1k", "resnet50-in1k"]


@pytest.mark.parametrize("name", list_recipes())
class TestEach:
    def test_says_what_it_is_for_and_where_it_comes_from(self, name: str) -> None:
        recipe = load_recipe(name)
        assert len(recipe.description) > 20
        assert len(recipe.source) > 20

    def test_has_a_head_with_command_source_and_accuracy(self, name: str) -> None:
        head = (LIBRARY / f"{name}.yaml").read_text(encoding="utf-8").partition("\n\n")[0]
        assert all(line.startswith("#") for line in head.splitlines())
        assert f"convsmith train {name} --data " in head
        assert "# Source: " in head
        assert "# Accuracy: " in head or "# Published, " in head

    def test_trains_on_images_of_the_size_that_it_is_evaluated_on(self, name: str) -> None:
        recipe = load_recipe(name)
        assert recipe.augment.size == recipe.preprocess.crop


@pytest.mark.parametrize("name", ["resnet18-in1k", "resnet50-in1k"])
def test_the_imagenet_recipes_are_torchvisions_first(name: str) -> None:
    recipe = load_recipe(name)
    assert recipe.optimizer == Sgd(name="sgd", lr=0.1, momentum=0.9, weight_decay=1e-4)
    assert (recipe.batch.size, recipe.schedule) == (8 * 32, Cosine(epochs=90))
    assert (recipe.preprocess.resize, recipe.preprocess.crop, recipe.augment.hflip) == (256, 224, 0.5)
    assert (recipe.loss.label_smoothing, recipe.ema) == (0, None)


@pytest.mark.parametrize("name", ["cifar_resnet20-cifar10", "cifar_resnet56-cifar10"])
def test_the_cifar_recipes_are_the_papers(name: str) -> None:
    recipe = load_recipe(name)
    assert recipe.optimizer == Sgd(name="sgd", lr=0.1, momentum=0.9, weight_decay=1e-4)
    assert (recipe.batch.size, recipe.schedule.epochs) == (128, 200)
    assert recipe.augment.random_crop is not None
    assert (recipe.augment.random_crop.padding, recipe.augment.hflip) == (4, 0.5)


def test_digits_are_not_mirrored() -> None:
    assert load_recipe("digits").augment.hflip == 0


def test_the_range_of_aspect_ratios_is_symmetric() -> None:
    crop = load_recipe("resnet50-in1k").augment.random_resized_crop
    assert crop is not None
    assert math.isclose(crop.ratio[0] * crop.ratio[1], 1)
