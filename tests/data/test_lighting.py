from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from convsmith.data.augment.lighting import EIGENVALUES, EIGENVECTORS, lit, random_lighting

GOLDEN = json.loads((Path(__file__).parents[1] / "goldens/training/crops.json").read_text())["lighting"]


def test_the_components_are_the_official_ones() -> None:
    assert torch.equal(EIGENVALUES, torch.tensor(GOLDEN["gluon_eigval_on_0_255"]))
    assert torch.equal(EIGENVECTORS, torch.tensor(GOLDEN["eigvec"]))
    torch.testing.assert_close(EIGENVALUES / 255, torch.tensor(GOLDEN["eigval"]), rtol=1e-3, atol=0)


@pytest.mark.parametrize("case", GOLDEN["cases"], ids=lambda case: f"alpha {case['in']['alpha'][0]:.2f}")
def test_an_image_is_shifted_saturated_and_truncated_as_by_gluon(case: dict[str, Any]) -> None:
    image = torch.tensor([0, 1, 100, 128, 254, 255], dtype=torch.uint8).expand(3, 1, 6)
    shifted = lit(image, torch.tensor(case["in"]["alpha"]))
    assert shifted[:, 0].tolist() == case["out"]["gluon_uint8_values_for_0_1_100_128_254_255"]


def test_the_shift_is_normal_with_the_given_deviation() -> None:
    grey = torch.full((3, 1, 1), 128, dtype=torch.uint8)
    torch.manual_seed(0)
    shifts = torch.stack([random_lighting(0.5)(grey)[:, 0, 0] for _ in range(4000)]) - 127.5  # truncation takes a half
    covariance = EIGENVECTORS @ torch.diag((0.5 * EIGENVALUES) ** 2) @ EIGENVECTORS.T
    torch.testing.assert_close(shifts.T.cov(), covariance, rtol=0.1, atol=0)
    assert shifts.mean(dim=0).abs().max() < 5 * (covariance.diagonal().max() / 4000) ** 0.5
