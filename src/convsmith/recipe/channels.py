"""Which sections of a recipe go with images of other channels than RGB."""

from __future__ import annotations

from convsmith.recipe.augmentation import Augment, AugMix, AutoAugment, RandAugment, TrivialAugment
from convsmith.recipe.sections import Sections

_OF_GREY = AutoAugment | RandAugment | TrivialAugment | AugMix  # torchvision's, whose operations know grey images


def check_channels(recipe: Sections) -> None:
    """ValueError if a section is of red, green and blue, where images have other channels."""
    channels, given = recipe.data.channels, len(recipe.preprocess.mean)
    if given not in (channels, 3):
        raise ValueError(
            f"preprocess.mean has {given} values, but data.channels is {channels}: give one for each channel, or none, "
            "and they are measured"
        )
    for key, remedy in colour_steps(recipe.augment, channels).items():
        raise ValueError(f"{key} changes colours, which images with data.channels={channels} do not have: set {remedy}")


def colour_steps(augment: Augment, channels: int) -> dict[str, str]:
    """The steps of an augmentation that cannot be had with so many channels, and by which words to leave each out."""
    if channels == 3:
        return {}
    steps, jitter, is_grey = {}, augment.color_jitter, channels == 1
    if augment.policy and not (is_grey and isinstance(augment.policy, _OF_GREY)):
        steps["augment.policy"] = "augment.policy=null"
    if jitter and not is_grey:
        steps["augment.color_jitter"] = "augment.color_jitter=null"
    elif jitter and (jitter.saturation or jitter.hue):
        only_colours = not (jitter.brightness or jitter.contrast)
        kept = "augment.color_jitter.saturation=0 augment.color_jitter.hue=0"
        steps["augment.color_jitter"] = "augment.color_jitter=null" if only_colours else kept
    if augment.lighting:
        steps["augment.lighting"] = "augment.lighting=0"
    return steps
