from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F

from convsmith.recipe.load import load_recipe
from convsmith.recipe.objective import Ohem
from convsmith.tasks.losses import (
    as_shares,
    binary_cross_entropy,
    class_weights,
    cross_entropy,
    focal,
    make_loss,
    smoothed,
)
from tests.tasks.training_goldens import cases, normal

LABELS = torch.tensor([0, 1, 2, 0, 3])
WEIGHT = torch.tensor([1.0, 2.0, 0.5, 4.0], dtype=torch.float64)


def logits(seed: int = 0) -> Tensor:
    return normal(seed, 5, 4)


@pytest.mark.parametrize("case", cases("mixup", "smoothing_only"))
def test_smoothing_is_that_of_all_official_codes(case: dict[str, Any]) -> None:
    given_, labels = case["in"], torch.tensor(case["in"]["labels"])
    x = normal(given_["logits_seed"], len(labels), given_["classes"])
    hard = cross_entropy(x, labels, smoothing=given_["smoothing"])
    soft = cross_entropy(x, as_shares(labels, x), smoothing=given_["smoothing"])
    for name, expected in case["out"].items():
        assert float(hard) == pytest.approx(expected, rel=1e-12), name
        assert float(soft) == pytest.approx(expected, rel=1e-12), name


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("weight", [None, WEIGHT])
def test_index_and_soft_labels_give_torchs_weighted_mean(weight: Tensor | None, smoothing: float) -> None:
    x = logits()
    expected = F.cross_entropy(x, LABELS, weight, label_smoothing=smoothing)
    assert float(cross_entropy(x, LABELS, weight, smoothing)) == float(expected)
    assert float(cross_entropy(x, as_shares(LABELS, x), weight, smoothing)) == pytest.approx(float(expected))


def test_the_size_of_the_weights_does_not_matter_for_soft_labels() -> None:
    soft = normal(1, 5, 4).softmax(1)
    one, ten = (float(cross_entropy(logits(), soft, factor * WEIGHT)) for factor in (1, 10))
    assert one == pytest.approx(ten)


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
@pytest.mark.parametrize("weight", [None, WEIGHT])
def test_focal_loss_without_focus_is_cross_entropy(weight: Tensor | None, smoothing: float) -> None:
    for labels in (LABELS, normal(1, 5, 4).softmax(1)):
        expected = cross_entropy(logits(), labels, weight, smoothing)
        assert float(focal(logits(), labels, 0.0, weight, smoothing)) == pytest.approx(float(expected))


def test_focal_loss_is_its_formula() -> None:
    x = logits()
    p = x.softmax(1).gather(1, LABELS[:, None])
    assert float(focal(x, LABELS, 2.0)) == pytest.approx(float((-((1 - p) ** 2) * p.log()).mean()))


@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0])
def test_focal_loss_of_a_certain_answer_has_a_finite_gradient(gamma: float) -> None:
    x = torch.tensor([[200.0, 0.0], [0.0, 200.0]], requires_grad=True)
    loss = focal(x, torch.tensor([0, 0]), gamma)
    (gradient,) = torch.autograd.grad(loss, x)
    assert loss.isfinite()
    assert gradient.isfinite().all()


def test_binary_cross_entropy_asks_for_each_class() -> None:
    x, labels = logits(), torch.tensor([[1, 0, 1, 1], [0, 0, 0, 0], [0, 1, 0, 0], [1, 1, 1, 1], [0, 0, 1, 0]])
    p = x.sigmoid()
    terms = -(labels * p.log() + (1 - labels) * (1 - p).log())
    assert float(binary_cross_entropy(x, labels)) == pytest.approx(float(terms.mean()))
    assert float(binary_cross_entropy(x, labels, WEIGHT)) == pytest.approx(float((terms * WEIGHT).mean()))


def test_the_threshold_of_binary_cross_entropy_looks_at_smoothed_labels() -> None:
    x = logits()
    soft = as_shares(LABELS, x).lerp(as_shares(LABELS.flip(0), x), 0.3)
    smooth = smoothed(soft, 0.1)
    assert float(binary_cross_entropy(x, soft, smoothing=0.1)) == pytest.approx(
        float(F.binary_cross_entropy_with_logits(x, smooth))
    )
    for threshold in (0.2, 0.5):
        expected = F.binary_cross_entropy_with_logits(x, (smooth > threshold).double())
        assert float(binary_cross_entropy(x, soft, smoothing=0.1, threshold=threshold)) == float(expected)
    # 0.28 of the partner is above 0.2, but not above 0.5
    assert ((smooth > 0.2).sum(1) - (smooth > 0.5).sum(1)).tolist() == [1, 1, 0, 1, 1]


@given(st.sets(st.integers(1, 10**6), min_size=2, max_size=8).map(sorted))
def test_rare_classes_weigh_more_and_an_image_weighs_1_on_average(counts: list[int]) -> None:
    n = torch.tensor(counts, dtype=torch.float64)
    for kind in ("inverse", "sqrt", "effective_number"):
        weight = class_weights(kind, counts).double()
        assert float((weight * n).sum() / n.sum()) == pytest.approx(1, rel=1e-5)
        assert (weight.diff() <= 0).all()


def test_class_weights_are_their_formulas() -> None:
    counts = [10, 40, 1000]
    for kind, raw in (
        ("inverse", [1 / 10, 1 / 40, 1 / 1000]),
        ("sqrt", [10**-0.5, 40**-0.5, 1000**-0.5]),
        ("effective_number", [0.001 / (1 - 0.999**n) for n in counts]),
    ):
        weight = class_weights(kind, counts)  # type: ignore[arg-type]
        assert (weight / weight[0]).tolist() == pytest.approx([w / raw[0] for w in raw], rel=1e-6)


def test_a_class_without_images_counts_as_one_with_a_single_image() -> None:
    weight = class_weights("inverse", [0, 1, 4])
    assert weight[0] == weight[1] == 4 * weight[2]


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        (["loss.label_smoothing=0.1"], lambda x: cross_entropy(x, LABELS, WEIGHT, 0.1)),
        (["loss.name=focal", "loss.gamma=1.5"], lambda x: focal(x, LABELS, 1.5, WEIGHT)),
        (
            ["loss.name=binary_cross_entropy", "loss.threshold=0.3", "loss.label_smoothing=0.1"],
            lambda x: binary_cross_entropy(x, LABELS, WEIGHT, 0.1, 0.3),
        ),
    ],
)
def test_a_recipe_names_the_loss_and_all_that_belongs_to_it(overrides: list[str], expected: Any) -> None:
    x = logits()
    loss = make_loss(load_recipe("digits", overrides).loss, WEIGHT)
    assert float(loss(x, LABELS)) == float(expected(x))


def test_a_loss_of_pixels_only_is_refused() -> None:
    with pytest.raises(AssertionError, match="ohem is a loss of pixels"):
        make_loss(Ohem(name="ohem"))
