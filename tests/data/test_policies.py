from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor
from torchvision.transforms import InterpolationMode, v2

from convsmith.data.augment.policies import make_policy
from convsmith.recipe.augmentation import (
    AugMix,
    AutoAugment,
    Policy,
    RandAugment,
    ResNeStAutoAugment,
    TimmRandAugment,
    TrivialAugment,
)
from convsmith.spec import Preprocess

PREPROCESS = Preprocess(resize=8, crop=8)
NEAREST, BILINEAR, BICUBIC = (InterpolationMode(name) for name in ("nearest", "bilinear", "bicubic"))


def noise(height: int = 20, width: int = 30) -> Tensor:
    return torch.randint(256, (3, height, width), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


PAIRS: list[tuple[Policy, v2.Transform]] = [
    (AutoAugment(name="auto_augment"), v2.AutoAugment(interpolation=BILINEAR)),
    (
        AutoAugment(name="auto_augment", learned_on="cifar10", interpolation="nearest"),
        v2.AutoAugment(v2.AutoAugmentPolicy.CIFAR10, NEAREST),
    ),
    (
        AutoAugment(name="auto_augment", learned_on="svhn"),
        v2.AutoAugment(v2.AutoAugmentPolicy.SVHN, BILINEAR),
    ),
    (RandAugment(name="rand_augment"), v2.RandAugment(2, 9, interpolation=BILINEAR)),
    (RandAugment(name="rand_augment", num_ops=3, magnitude=30), v2.RandAugment(3, 30, interpolation=BILINEAR)),
    (TrivialAugment(name="trivial_augment"), v2.TrivialAugmentWide(interpolation=BILINEAR)),
    (AugMix(name="augmix"), v2.AugMix(interpolation=BILINEAR)),
    (
        AugMix(name="augmix", severity=10, width=2, alpha=0.5, interpolation="nearest"),
        v2.AugMix(10, 2, alpha=0.5, interpolation=NEAREST),
    ),
]


PILLOWS: list[Policy] = [
    TimmRandAugment(name="timm_rand_augment"),
    ResNeStAutoAugment(name="resnest_auto_augment"),
]


def name(value: object) -> str:
    return value.name if isinstance(value, AutoAugment | RandAugment | TrivialAugment | AugMix) else ""


@pytest.mark.parametrize(("policy", "official"), PAIRS, ids=name)
def test_a_policy_is_torchvisions_given_the_same_generator(policy: Policy, official: v2.Transform) -> None:
    ours = make_policy(policy, PREPROCESS)
    for seed in range(60):
        torch.manual_seed(seed)
        changed = ours(noise())
        torch.manual_seed(seed)
        assert torch.equal(changed, official(noise()))


@pytest.mark.parametrize(
    ("policy", "official"),
    [
        (AutoAugment(name="auto_augment", interpolation="bicubic"), v2.AutoAugment(interpolation=BICUBIC)),
        (RandAugment(name="rand_augment", interpolation="bicubic"), v2.RandAugment(interpolation=BICUBIC)),
        (TrivialAugment(name="trivial_augment", interpolation="bicubic"), v2.TrivialAugmentWide(interpolation=BICUBIC)),
    ],
    ids=name,
)
def test_bicubic_policies_are_torchvisions_of_pillow_images(policy: Policy, official: v2.Transform) -> None:
    ours, picture = make_policy(policy, PREPROCESS), Image.fromarray(noise().permute(1, 2, 0).numpy())
    for seed in range(30):
        torch.manual_seed(seed)
        changed = ours(noise())
        torch.manual_seed(seed)
        assert (changed.permute(1, 2, 0).numpy() == np.asarray(official(picture))).all()


@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (2, 3), (24, 31)])
@pytest.mark.parametrize("policy", [policy for policy, _ in PAIRS] + PILLOWS)
def test_an_image_of_any_size_keeps_it(policy: Policy, shape: tuple[int, int]) -> None:
    changed = make_policy(policy, PREPROCESS)
    for seed in range(20):
        torch.manual_seed(seed)
        image = changed(noise(*shape))
        assert (image.dtype, tuple(image.shape)) == (torch.uint8, (3, *shape))
