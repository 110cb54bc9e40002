"""How bytes become what a model learns from."""

from __future__ import annotations

import pytest
import torch

from convsmith.models.layers import Normalize


def test_bytes_become_floats_less_the_mean_in_standard_deviations() -> None:
    mean, std = (0.5, 0.25, 0.0), (0.25, 0.5, 1.0)
    images = torch.arange(2 * 3 * 4 * 5, dtype=torch.uint8).view(2, 3, 4, 5) * 2
    found = Normalize(mean, std)(images)
    for channel in range(3):
        expected = (images[:, channel].double() / 255 - mean[channel]) / std[channel]
        assert found[:, channel].double().flatten().tolist() == pytest.approx(expected.flatten().tolist(), abs=1e-6)
    assert (found.dtype, found.shape) == (torch.float32, images.shape)
