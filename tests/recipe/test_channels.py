"""What a recipe may say of images of other channels than RGB; all of it is known before a step."""

from __future__ import annotations

import pytest

from convsmith.errors import ConvsmithError
from convsmith.recipe.channels import colour_steps
from convsmith.recipe.load import load_recipe
from convsmith.spec import Bands

RECIPE = "resnet18-folder"


def complaint(*overrides: str) -> str:
    with pytest.raises(ConvsmithError) as caught:
        load_recipe(RECIPE, overrides)
    return str(caught.value)


@pytest.mark.parametrize(
    ("step", "remedy"),
    [
        ("augment.color_jitter={brightness: 0.4}", "augment.color_jitter=null"),
        ("augment.lighting=0.1", "augment.lighting=0"),
        ("augment.policy={name: trivial_augment}", "augment.policy=null"),
        ("augment.policy={name: timm_rand_augment}", "augment.policy=null"),
        ("augment.policy={name: resnest_auto_augment}", "augment.policy=null"),
    ],
)
def test_steps_that_change_colours_are_refused_with_the_words_that_leave_them_out(step: str, remedy: str) -> None:
    said = complaint("data.channels=4", step)
    key = step.partition("=")[0]
    assert f"{key} changes colours, which images with data.channels=4 do not have: set {remedy}" in said
    load_recipe(RECIPE, ["data.channels=4", step, remedy])


def test_grey_images_take_the_steps_that_know_grey() -> None:
    for name in ("trivial_augment", "rand_augment", "auto_augment", "augmix"):
        load_recipe(RECIPE, ["data.channels=1", f"augment.policy={{name: {name}}}"])
    load_recipe(RECIPE, ["data.channels=1", "augment.color_jitter={brightness: 0.4, contrast: 0.2}"])
    said = complaint("data.channels=1", "augment.color_jitter={brightness: 0.4, saturation: 0.4}")
    assert "set augment.color_jitter.saturation=0 augment.color_jitter.hue=0" in said
    assert "augment.lighting" in complaint("data.channels=1", "augment.lighting=0.1")


def test_every_remedy_makes_every_packaged_recipe_one_for_four_channels() -> None:
    for name in ("hrnet_w18_seg-folder", "resnest50-in1k", "convnext_tiny-in1k", RECIPE):
        words = " ".join(colour_steps(load_recipe(name).augment, 4).values()).split()
        assert load_recipe(name, ["data.channels=4", *words]).bands == Bands(4)


def test_steps_for_any_channels_stay() -> None:
    steps = ("augment.hflip=0.5", "augment.vflip=0.5", "augment.brightness_shift=10", "mixing={mixup_alpha: 0.2}")
    load_recipe(RECIPE, ["data.channels=5", *steps, "augment.random_erasing={probability: 0.2, value: noise}"])


def test_a_mean_of_another_number_of_channels_is_refused_but_that_of_rgb_is_measured() -> None:
    said = complaint("data.channels=4", "preprocess.mean=[0.5, 0.5]", "preprocess.std=[0.2, 0.2]")
    assert "preprocess.mean has 2 values, but data.channels is 4" in said
    assert load_recipe(RECIPE, ["data.channels=4"]).mean_is_open
    four = ["preprocess.mean=[0.5, 0.5, 0.5, 0.5]", "preprocess.std=[0.2, 0.2, 0.2, 0.2]"]
    assert not load_recipe(RECIPE, ["data.channels=4", *four]).mean_is_open


def test_the_number_of_channels_is_said_in_one_place() -> None:
    for key in ("in_channels", "in_chans"):
        assert f"set data.channels, not model.options.{key}" in complaint(f"model.options.{key}=4")


@pytest.mark.parametrize("channels", ["0", "1025", "4.0", "rgb"])
def test_a_number_that_no_image_has_is_refused(channels: str) -> None:
    assert "data.channels" in complaint(f"data.channels={channels}")
