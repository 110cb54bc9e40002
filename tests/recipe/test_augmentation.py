from __future__ import annotations

import pytest

from convsmith.recipe.augmentation import Augment, EfficientNetCrop, RandomCrop, RandomResizedCrop, RandomScaleCrop
from convsmith.spec import Size


@pytest.mark.parametrize(
    ("augment", "size"),
    [
        (Augment(random_resized_crop=RandomResizedCrop(size=24)), (24, 24)),
        (Augment(efficientnet_crop=EfficientNetCrop(size=24)), (24, 24)),
        (Augment(random_crop=RandomCrop(size=24)), (24, 24)),
        (Augment(random_scale_crop=RandomScaleCrop(size=(24, 32))), (24, 32)),
    ],
    ids=["random_resized_crop", "efficientnet_crop", "random_crop", "random_scale_crop"],
)
def test_the_size_of_a_training_image_is_that_of_its_crop(augment: Augment, size: Size) -> None:
    assert augment.size == augment.mask_size == size


@pytest.mark.parametrize(("rate", "size"), [(0.25, (90, 120)), (0.3, (108, 144)), (0.001, (1, 1))])
def test_a_mask_is_smaller_by_its_rate(rate: float, size: Size) -> None:
    crop = RandomScaleCrop(size=(360, 480))
    assert Augment(random_scale_crop=crop, mask_downsample_rate=rate).mask_size == size


@pytest.mark.parametrize(
    ("scale", "step", "steps"),
    [((0.5, 2.1), 0.1, 16), ((0.5, 1.6), 0.1, 11), ((0.75, 1.25), 0.25, 2), ((1.0, 1.0), 0.1, 0), ((0.5, 2.0), 0, 0)],
)
def test_steps_lead_from_the_smallest_scale_to_the_largest(scale: tuple[float, float], step: float, steps: int) -> None:
    assert RandomScaleCrop(size=(8, 8), scale=scale, scale_step=step).steps == steps
