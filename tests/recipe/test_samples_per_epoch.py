"""How many samples an epoch has."""

from __future__ import annotations

import pytest

from convsmith.recipe.make_plan import samples_per_epoch
from convsmith.recipe.sampling import Plain


@pytest.mark.parametrize(
    ("fraction", "images", "samples"), [(1, 7, 7), (0.5, 7, 4), (0.5, 8, 4), (0.1, 3, 1), (0.1, 14, 1), (0.1, 16, 2)]
)
def test_an_epoch_has_the_rounded_share_of_the_images_and_one_at_least(
    fraction: float, images: int, samples: int
) -> None:
    assert samples_per_epoch(Plain(fraction=fraction), images) == samples
