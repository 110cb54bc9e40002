"""A random rectangle of a training image is overwritten (Zhong et al. 2017, arXiv:1708.04896)."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torchvision.transforms import v2

from convsmith.recipe.augmentation import RandomErasing
from convsmith.spec import Preprocess, WholeImage


def random_erasing(erasing: RandomErasing, preprocess: Preprocess | WholeImage) -> Callable[[Tensor], Tensor]:
    """The function that overwrites a rectangle of an image, uint8 `[3, H, W]`, with `erasing.probability`.

    torchvision and timm do so after normalisation, with 0 or with the standard normal distribution. Here it is done
    before, with the bytes that become these numbers, as far as bytes go. Probability, rectangle and noise are drawn
    by torchvision's class.

    Args:
        erasing: what to do.
        preprocess: gives the mean and the standard deviation.
    """
    draw = v2.RandomErasing(1.0, erasing.scale, erasing.ratio, "random" if erasing.value == "noise" else 0.0)
    mean, std = (torch.tensor(values)[:, None, None] * 255 for values in (preprocess.mean, preprocess.std))

    def erase(image: Tensor) -> Tensor:
        if torch.rand(()).item() >= erasing.probability:
            return image
        box = draw.make_params([image])
        if box["v"] is None:  # no rectangle of ten fitted
            return image
        value = (box["v"] * std + mean).round_().clamp_(0, 255).to(torch.uint8)
        return v2.functional.erase(image, box["i"], box["j"], box["h"], box["w"], value)  # type: ignore[no-any-return]

    return erase
