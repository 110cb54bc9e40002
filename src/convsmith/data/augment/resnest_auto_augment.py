"""AutoAugment as ResNeSt was trained with it (zhanghang1989/ResNeSt, resnest/transforms.py), on Pillow images.

The pairs of operations are those of Cubuk et al. 2018 (arXiv:1805.09501), the ranges of the operations are not:
posterize keeps 1 to 4 bits (torchvision 4 to 8), and the colour enhancements grow with the level from 0.1 to 1.9, where
torchvision goes up or down from 1.
"""

from __future__ import annotations

from PIL import Image

from convsmith.data.augment.draws import below, uniform
from convsmith.data.augment.timm_rand_augment import change

_NONE = 0  # of operations that have no level

# Name, probability and level of two operations.
PAIRS = (
    (("Posterize", 0.4, 8), ("Rotate", 0.6, 9)),
    (("Solarize", 0.6, 5), ("AutoContrast", 0.6, _NONE)),
    (("Equalize", 0.8, _NONE), ("Equalize", 0.6, _NONE)),
    (("Posterize", 0.6, 7), ("Posterize", 0.6, 6)),
    (("Equalize", 0.4, _NONE), ("Solarize", 0.2, 4)),
    (("Equalize", 0.4, _NONE), ("Rotate", 0.8, 8)),
    (("Solarize", 0.6, 3), ("Equalize", 0.6, _NONE)),
    (("Posterize", 0.8, 5), ("Equalize", 1.0, _NONE)),
    (("Rotate", 0.2, 3), ("Solarize", 0.6, 8)),
    (("Equalize", 0.6, _NONE), ("Posterize", 0.4, 6)),
    (("Rotate", 0.8, 8), ("Color", 0.4, 0)),
    (("Rotate", 0.4, 9), ("Equalize", 0.6, _NONE)),
    (("Equalize", 0.0, _NONE), ("Equalize", 0.8, _NONE)),
    (("Invert", 0.6, _NONE), ("Equalize", 1.0, _NONE)),
    (("Color", 0.6, 4), ("Contrast", 1.0, 8)),
    (("Rotate", 0.8, 8), ("Color", 1.0, 0)),
    (("Color", 0.8, 8), ("Solarize", 0.8, 7)),
    (("Sharpness", 0.4, 7), ("Invert", 0.6, _NONE)),
    (("ShearX", 0.6, 5), ("Equalize", 1.0, _NONE)),
    (("Color", 0.4, 0), ("Equalize", 0.6, _NONE)),
    (("Equalize", 0.4, _NONE), ("Solarize", 0.2, 4)),
    (("Solarize", 0.6, 5), ("AutoContrast", 0.6, _NONE)),
    (("Invert", 0.6, _NONE), ("Equalize", 1.0, _NONE)),
    (("Color", 0.6, 4), ("Contrast", 1.0, 8)),
    (("Equalize", 0.8, _NONE), ("Equalize", 0.6, _NONE)),
)


def resnest_auto_augment(image: Image.Image) -> Image.Image:
    """An image of mode RGB, changed by a random pair of operations, each with its probability."""
    for name, probability, level in PAIRS[below(len(PAIRS))]:
        if uniform() < probability:
            image = apply(image, name, level, sign=1 if uniform() < 0.5 else -1)
    return image


def apply(image: Image.Image, name: str, level: int, sign: int) -> Image.Image:
    """One operation: rotations by the nearest pixel, shears bicubic, black from outside; `sign` is their direction."""
    stronger = name in ("Posterize", "Solarize")
    resampling = Image.Resampling.NEAREST if name == "Rotate" else Image.Resampling.BICUBIC
    return change(image, name, level, sign, increasing=stronger, resampling=resampling, fill=(0, 0, 0))
