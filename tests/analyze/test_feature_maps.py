"""Features that are maps of an image, in any form, and those that are none."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from convsmith.analyze.heat.feature_maps import as_map, maps_before_head
from tests.training.tiny_model import TinyNet

IMAGES = (64, 96)


@pytest.mark.parametrize(
    ("shape", "prefix", "slack", "expected"),
    [
        ((2, 5, 4, 6), 0, 0, (2, 5, 4, 6)),
        ((2, 4, 6, 5), 0, 0, (2, 5, 4, 6)),
        ((2, 24, 5), 0, 0, (2, 5, 4, 6)),
        ((2, 25, 5), 1, 0, (2, 5, 4, 6)),
        ((2, 24, 5), 1, 0, (2, 5, 4, 6)),
        ((2, 26, 5), 1, 0, None),
        ((2, 5, 3, 4), 0, 0, (2, 5, 3, 4)),  # by steps of 24
        ((2, 5, 1, 2), 0, 0, (2, 5, 1, 2)),
        ((2, 5, 1, 1), 0, 0, None),
        ((2, 1, 1, 5), 0, 0, None),
        ((2, 5, 4, 4), 0, 0, (2, 5, 4, 4)),  # by steps of 20
        ((2, 5, 5, 5), 0, 0, None),
        ((2, 9, 6, 6), 0, 0, None),
        ((2, 9, 6, 6), 0, 2, (2, 9, 6, 6)),
        ((2, 5, 2, 3), 0, 2, None),
        ((2, 5, 3, 3), 0, 2, (2, 5, 3, 3)),
        ((2, 4, 6, 1), 0, 0, None),
        ((2, 5), 0, 0, None),
        ((2, 0, 5), 1, 0, None),
        ((3, 5, 4, 6), 0, 0, None),
        ((2, 5, 64, 96), 0, 0, (2, 5, 64, 96)),
        ((2, 5, 65, 96), 0, 0, None),
        ((2, 5, 65, 97), 0, 1, (2, 5, 65, 97)),
    ],
)
def test_features_with_a_place_for_each_part_of_the_image_are_a_map(
    shape: tuple[int, ...], prefix: int, slack: int, expected: tuple[int, ...] | None
) -> None:
    features = torch.arange(torch.Size(shape).numel()).reshape(shape).float()
    found = as_map(features, IMAGES, 2, prefix, slack=slack)
    assert (None if found is None else tuple(found.shape)) == expected


def test_the_order_of_places_and_channels_is_kept() -> None:
    maps = torch.randn(2, 5, 4, 6)
    last = maps.permute(0, 2, 3, 1)
    tokens = last.reshape(2, 24, 5)
    for features in (maps, last, tokens, torch.cat([torch.zeros(2, 1, 5), tokens], 1)):
        found = as_map(features, IMAGES, 2, 1)
        assert found is not None
        assert torch.equal(found, maps)


def test_integers_are_not_features() -> None:
    assert as_map(torch.zeros(2, 5, 4, 6, dtype=torch.int64), IMAGES, 2) is None


def test_maps_are_those_up_to_the_head_and_none_of_linear_layers() -> None:
    model = TinyNet(4).eval()
    images = torch.randn(2, 3, 16, 16)
    with maps_before_head(model) as found:
        model(images)
    assert [tuple(it.shape) for it in found[:2]] == [(2, 8, 7, 7)] * 2
    assert tuple(found[-1].shape) == (2, 8)
    before = len(found)
    model(images)
    assert len(found) == before


def test_what_runs_behind_the_head_is_left_out() -> None:
    class Late(TinyNet):
        def __init__(self) -> None:
            super().__init__(4)
            self.late = nn.Conv2d(3, 2, 1)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            logits: torch.Tensor = super().forward(x)
            self.late(x)
            return logits

    model = Late().eval()
    with maps_before_head(model) as found:
        model(torch.randn(2, 3, 16, 16))
    assert (2, 2, 16, 16) not in [tuple(it.shape) for it in found]
