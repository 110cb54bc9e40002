"""Losses of several labels, against torch, torchvision and the equations of the papers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F
from torchvision.ops import sigmoid_focal_loss

from convsmith.recipe.objective import Asymmetric, BinaryCrossEntropy, Focal
from convsmith.tasks.label_losses import label_loss, make_label_loss
from tests.tasks.training_goldens import normal

LABELS = torch.tensor([[1.0, 0, 1, 0], [0, 0, 0, 0], [1, 1, 1, 1], [0, 1, 0, 0], [0, 0, 1, 0]]).double()
SOFT = 0.7 * LABELS + 0.3 * LABELS.flip(0)
WEIGHT = torch.tensor([1.0, 2.0, 0.5, 4.0], dtype=torch.float64)
POSITIVE = torch.tensor([3.0, 1.0, 9.0, 0.5], dtype=torch.float64)


def logits() -> Tensor:
    return (3 * normal(0, 5, 4)).requires_grad_()


def same(one: Tensor, other: Tensor, x: Tensor) -> bool:
    """Whether two losses and their gradients are equal but for rounding."""
    first, second = (torch.autograd.grad(it, x, retain_graph=True)[0] for it in (one, other))
    return torch.allclose(one, other, rtol=1e-10) and torch.allclose(first, second, rtol=1e-8, atol=1e-12)


@pytest.mark.parametrize("labels", [LABELS, SOFT], ids=["hard", "mixed"])
@pytest.mark.parametrize("weight", [None, WEIGHT], ids=["alike", "weighted"])
@pytest.mark.parametrize("positive", [None, POSITIVE], ids=["even", "positive"])
def test_without_powers_it_is_torchs_binary_cross_entropy(
    labels: Tensor, weight: Tensor | None, positive: Tensor | None
) -> None:
    x = logits()
    expected = F.binary_cross_entropy_with_logits(x, labels, weight, pos_weight=positive)
    assert same(label_loss(x, labels, weight=weight, positive=positive), expected, x)


@pytest.mark.parametrize("gamma", [0.5, 2.0])
def test_with_equal_powers_it_is_torchvisions_focal_loss(gamma: float) -> None:
    x = logits()
    expected = sigmoid_focal_loss(x, LABELS, alpha=-1, gamma=gamma, reduction="mean")
    assert same(label_loss(x, LABELS, gammas=(gamma, gamma)), expected, x)


def asymmetric(x: Tensor, y: Tensor, powers: tuple[float, float], margin: float) -> Tensor:
    """Equations 4 to 7 of Ridnik et al. 2020: L+ = (1-p)^g+ log p, L- = pm^g- log(1 - pm), pm = max(p - m, 0)."""
    p = x.sigmoid()
    shifted = (p - margin).clamp(min=0)
    there = (1 - p) ** powers[0] * p.log()
    absent = shifted ** powers[1] * (1 - shifted).log()
    return (-y * there - (1 - y) * absent).mean()


@pytest.mark.parametrize(("powers", "margin"), [((1.0, 4.0), 0.05), ((0.0, 4.0), 0.2), ((0.0, 2.0), 0.0)])
@pytest.mark.parametrize("labels", [LABELS, SOFT], ids=["hard", "mixed"])
def test_asymmetric_loss_is_the_papers_equations(labels: Tensor, powers: tuple[float, float], margin: float) -> None:
    x = logits()
    assert same(label_loss(x, labels, gammas=powers, clip=margin), asymmetric(x, labels, powers, margin), x)


@pytest.mark.parametrize("gammas", [(0.0, 0.0), (0.5, 0.5), (1.0, 4.0)])
@pytest.mark.parametrize("clip", [0.0, 0.05])
def test_a_certain_answer_has_a_finite_loss_and_gradient(gammas: tuple[float, float], clip: float) -> None:
    x = torch.tensor([[200.0, -200.0, 200.0, -200.0]], requires_grad=True)
    loss = label_loss(x, torch.tensor([[1.0, 1.0, 0.0, 0.0]]), gammas=gammas, clip=clip)
    (gradient,) = torch.autograd.grad(loss, x)
    assert loss.isfinite()
    assert gradient.isfinite().all()


SPECS: dict[str, Any] = {
    "binary_cross_entropy": BinaryCrossEntropy(name="binary_cross_entropy"),
    "focal": Focal(name="focal", gamma=2.0),
    "asymmetric": Asymmetric(name="asymmetric", gamma_positive=0.0, gamma_negative=3.0, clip=0.1),
}
EXPECTED: dict[str, Any] = {
    "binary_cross_entropy": {},
    "focal": {"gammas": (2.0, 2.0)},
    "asymmetric": {"gammas": (0.0, 3.0), "clip": 0.1},
}


@pytest.mark.parametrize("name", SPECS)
def test_a_recipe_names_the_loss_and_its_numbers(name: str) -> None:
    x = logits().detach()
    expected = label_loss(x, LABELS, weight=WEIGHT, positive=POSITIVE, **EXPECTED[name])
    assert float(make_label_loss(SPECS[name], WEIGHT, POSITIVE)(x, LABELS)) == float(expected)


def test_bytes_are_labels() -> None:
    loss = make_label_loss(SPECS["binary_cross_entropy"])
    x = logits().detach()
    assert float(loss(x, LABELS.byte())) == float(loss(x, LABELS))


def test_smoothing_spreads_its_share_over_yes_and_no() -> None:
    loss = make_label_loss(BinaryCrossEntropy(name="binary_cross_entropy", label_smoothing=0.2))
    expected = F.binary_cross_entropy_with_logits(logits().detach(), 0.8 * LABELS + 0.1)
    assert float(loss(logits().detach(), LABELS)) == pytest.approx(float(expected))


def test_a_threshold_makes_mixed_labels_yes_or_no() -> None:
    loss = make_label_loss(BinaryCrossEntropy(name="binary_cross_entropy", threshold=0.2))
    expected = F.binary_cross_entropy_with_logits(logits().detach(), (SOFT > 0.2).double())
    assert float(loss(logits().detach(), SOFT)) == pytest.approx(float(expected))


def test_the_loss_of_half_precision_is_that_of_its_values() -> None:
    x = logits().detach()
    assert np.isfinite(float(label_loss(x.half().float(), LABELS.float(), gammas=(1.0, 4.0), clip=0.05)))
