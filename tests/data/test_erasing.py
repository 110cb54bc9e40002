from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torchvision.transforms import v2

from convsmith.data.augment.erasing import random_erasing
from convsmith.recipe.augmentation import RandomErasing
from convsmith.spec import Preprocess

PREPROCESS = Preprocess(resize=8, crop=8)
NORMALIZE = v2.Compose([v2.ToDtype(torch.float32, scale=True), v2.Normalize(PREPROCESS.mean, PREPROCESS.std)])


def noise(height: int = 40, width: int = 30) -> Tensor:
    return torch.randint(256, (3, height, width), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(
    "erasing",
    [
        RandomErasing(probability=0.5),
        RandomErasing(probability=1.0, value="noise"),
        RandomErasing(probability=1.0, scale=(0.02, 1 / 3), ratio=(0.3, 1 / 0.3)),
        RandomErasing(probability=1.0, scale=(0.9, 1.0), ratio=(0.1, 0.2)),
    ],
    ids=["defaults", "noise", "timm", "fits never"],
)
def test_it_is_what_torchvision_does_after_normalisation(erasing: RandomErasing) -> None:
    value = "random" if erasing.value == "noise" else 0.0
    official = v2.RandomErasing(erasing.probability, erasing.scale, erasing.ratio, value)
    half_a_byte = 0.501 / 255 / torch.tensor(PREPROCESS.std)[:, None, None]
    black, white = (NORMALIZE(torch.full((3, 1, 1), byte, dtype=torch.uint8)) for byte in (0, 255))
    for seed in range(30):
        torch.manual_seed(seed)
        ours = NORMALIZE(random_erasing(erasing, PREPROCESS)(noise()))
        torch.manual_seed(seed)
        expected = official(NORMALIZE(noise())).clamp(black, white)
        assert ((ours - expected).abs() <= half_a_byte).all()


def erased_images(erasing: RandomErasing, count: int = 1000) -> Tensor:
    """Which pixels of noise changed, bool `[count, H, W]`."""
    torch.manual_seed(0)
    image, erase = noise(), random_erasing(erasing, PREPROCESS)
    return torch.stack([(erase(image) != image).any(dim=0) for _ in range(count)])


@pytest.mark.parametrize("probability", [0.0, 0.25, 1.0])
def test_a_share_of_the_images_is_erased(probability: float) -> None:
    changed = erased_images(RandomErasing(probability=probability)).flatten(1).any(dim=1).float().mean().item()
    assert changed == pytest.approx(probability, abs=4 * (probability * (1 - probability) / 1000) ** 0.5)


def test_what_is_erased_is_a_rectangle_of_an_area_in_the_range() -> None:
    for pixels in erased_images(RandomErasing(probability=1.0, scale=(0.1, 0.2)), 50):
        rows, columns = pixels.any(dim=1).nonzero(), pixels.any(dim=0).nonzero()
        box = pixels[int(rows[0]) : int(rows[-1]) + 1, int(columns[0]) : int(columns[-1]) + 1]
        assert 0.09 <= box.numel() / pixels.numel() <= 0.22  # sides are rounded to pixels
        assert box.float().mean() > 0.95  # a pixel may happen to have the colour of the rectangle


def test_the_image_itself_stays_as_it_was() -> None:
    image = noise()
    random_erasing(RandomErasing(probability=1.0), PREPROCESS)(image)
    assert torch.equal(image, noise())


@pytest.mark.parametrize("shape", [(1, 1), (1, 50), (3, 2)])
def test_the_smallest_images_pass(shape: tuple[int, int]) -> None:
    assert random_erasing(RandomErasing(probability=1.0), PREPROCESS)(noise(*shape)).shape == (3, *shape)
