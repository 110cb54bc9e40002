"""RandAugment as timm has it (timm/data/auto_augment.py), which ConvNeXt was trained with.

Its operations and their ranges are not those of the paper. They are Pillow's, so images are changed by Pillow here.
Posterizing to 0 bits, which happens at magnitude 10, makes an image black, as it did when ConvNeXt was trained; today's
Pillow refuses, and timm with it.
"""

from __future__ import annotations

from collections.abc import Callable

from PIL import Image, ImageEnhance, ImageOps

from convsmith.data.augment.draws import below, normal, uniform
from convsmith.recipe.augmentation import TimmRandAugment

OPERATIONS = (
    "AutoContrast",
    "Equalize",
    "Invert",
    "Rotate",
    "Posterize",
    "Solarize",
    "SolarizeAdd",
    "Color",
    "Contrast",
    "Brightness",
    "Sharpness",
    "ShearX",
    "ShearY",
    "TranslateX",
    "TranslateY",
)
MAX_MAGNITUDE = 10.0

Colour = tuple[int, int, int]


def timm_rand_augment(policy: TimmRandAugment, mean: tuple[float, ...]) -> Callable[[Image.Image], Image.Image]:
    """The function that changes an RGB image by `policy.num_ops` operations, each with `policy.probability`.

    Args:
        policy: what to do.
        mean: colour, in 0 to 1, of what lies outside the image.
    """
    red, green, blue = (min(255, round(255 * value)) for value in mean)
    modes = ("bilinear", "bicubic") if policy.interpolation == "random" else (policy.interpolation,)
    resamplings = [Image.Resampling[mode.upper()] for mode in modes]

    def augment(image: Image.Image) -> Image.Image:
        for _ in range(policy.num_ops):
            name = OPERATIONS[below(len(OPERATIONS))]
            if uniform() >= policy.probability:
                continue
            magnitude = min(max(policy.magnitude + policy.magnitude_std * normal(), 0.0), MAX_MAGNITUDE)
            sign = 1 if uniform() < 0.5 else -1
            resampling = resamplings[below(len(resamplings))]
            image = change(
                image,
                name,
                magnitude,
                sign,
                increasing=policy.increasing,
                resampling=resampling,
                fill=(red, green, blue),
            )
        return image

    return augment


def change(
    image: Image.Image,
    name: str,
    magnitude: float,
    sign: int,
    *,
    increasing: bool,
    resampling: Image.Resampling,
    fill: Colour,
) -> Image.Image:
    """One operation on an RGB image.

    Args:
        image: of mode RGB.
        name: one of `OPERATIONS`.
        magnitude: 0 to 10.
        sign: 1 or -1: the direction, of operations that have one.
        increasing: whether posterize, solarize and the enhancements become stronger with the magnitude (timm's `inc1`).
        resampling: of rotations, shears and translations.
        fill: colour of what these bring in from outside the image.
    """

    def moved(*matrix: float) -> Image.Image:
        return image.transform(image.size, Image.Transform.AFFINE, matrix, resampling, fillcolor=fill)

    level = magnitude / MAX_MAGNITUDE
    match name:
        case "AutoContrast":
            return ImageOps.autocontrast(image)
        case "Equalize":
            return ImageOps.equalize(image)
        case "Invert":
            return ImageOps.invert(image)
        case "Rotate":
            return image.rotate(sign * level * 30, resampling, fillcolor=fill)
        case "Posterize":
            bits = 4 - int(level * 4) if increasing else int(level * 4)
            return image.point([i & 0xFF << 8 - bits for i in range(256)] * 3)
        case "Solarize":
            threshold = int(level * 256)
            return ImageOps.solarize(image, 256 - threshold if increasing else threshold)
        case "SolarizeAdd":
            added = int(level * 110)
            return image.point([i + added if i < 128 else i for i in range(256)] * 3)
        case "ShearX":
            return moved(1, sign * level * 0.3, 0, 0, 1, 0)
        case "ShearY":
            return moved(1, 0, 0, sign * level * 0.3, 1, 0)
        case "TranslateX":
            return moved(1, 0, sign * level * 0.45 * image.width, 0, 1, 0)
        case "TranslateY":
            return moved(1, 0, 0, 0, 1, sign * level * 0.45 * image.height)
        case _:  # Color, Contrast, Brightness or Sharpness
            factor = max(0.1, 1 + sign * level * 0.9) if increasing else level * 1.8 + 0.1
            enhanced: Image.Image = getattr(ImageEnhance, name)(image).enhance(factor)
            return enhanced
