from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F

from convsmith.errors import ConvsmithError
from convsmith.recipe.objective import BinaryCrossEntropy, CrossEntropy, Dice, Focal, Loss, Lovasz, Ohem
from convsmith.spec import IGNORED
from convsmith.tasks import losses as image_losses
from convsmith.tasks.segmentation_losses import (
    cross_entropy,
    cross_entropy_of_all,
    dice,
    focal,
    lovasz_softmax,
    make_segmentation_loss,
    ohem,
    ohem_limit,
    upsample,
)
from tests.tasks.training_goldens import GOLDENS, cases, gradient_norm, normal

CASES = cases("ohem")
EDGE_CASES = json.loads((GOLDENS / "ohem.json").read_text(encoding="utf-8"))["edge_cases"]
WEIGHT = torch.tensor([1.0, 2.0, 0.5, 4.0, 0.1], dtype=torch.float64)
KINDS: list[Loss] = [
    CrossEntropy(),
    Focal(name="focal"),
    Ohem(name="ohem", min_kept=20),
    Dice(name="dice"),
    Lovasz(name="lovasz"),
]


def golden_inputs(given_: dict[str, Any]) -> tuple[list[Tensor], Tensor]:
    """Logits of each output and masks, as the README of the numbers says."""
    random, classes, size = np.random.RandomState(given_["seed"]), given_["C"], given_["target_hw"]
    target = random.randint(0, classes, (given_["N"], *size))
    ignored = random.rand(given_["N"], *size) < given_["ignore_fraction"]
    target[ignored] = given_["ignore_label"]
    outputs = []
    for height, width in given_["score_hw"]:
        logits = random.randn(given_["N"], classes, height, width) * given_["logit_scale"]
        if given_["target_boost"]:
            logits += given_["target_boost"] * (target[:, None] == np.arange(classes)[:, None, None])
        outputs.append(torch.from_numpy(logits).requires_grad_())
    return outputs, torch.from_numpy(target)


def golden_loss(given_: dict[str, Any]) -> Callable[[list[Tensor], Tensor], Tensor]:
    """The loss of a case, by way of the recipe."""
    outputs = tuple(map(float, given_["balance_weights"]))
    spec: Loss = CrossEntropy(output_weights=outputs)
    if given_["loss"] == "ohem":
        spec = Ohem(name="ohem", threshold=given_["thres"], min_kept=given_["min_kept"], output_weights=outputs)
    weight = torch.tensor(given_["class_weights"], dtype=torch.float64) if given_["class_weights"] else None
    return make_segmentation_loss(spec, weight, given_["align_corners"], given_["ignore_label"])


def example(seed: int = 0, ignored: float = 0.2, size: int = 8) -> tuple[Tensor, Tensor]:
    """Logits [2, 5, size, size] and masks with some pixels ignored."""
    random = np.random.RandomState(seed + 1000)
    target = random.randint(0, 5, (2, size, size))
    target[random.rand(*target.shape) < ignored] = IGNORED
    return normal(seed, 2, 5, size, size).requires_grad_(), torch.from_numpy(target)


def sorted_ohem(logits: Tensor, target: Tensor, threshold: float, min_kept: int, weight: Tensor | None) -> Tensor:
    """OHEM as its definition reads, of lists of pixels."""
    valid = target != IGNORED
    logits_MK, target_M = logits.movedim(1, -1)[valid], target[valid]
    p = logits_MK.detach().softmax(1)[torch.arange(len(target_M)), target_M]
    limit = max(threshold, sorted(p.tolist())[min(max(min_kept, 1), len(p) - 1)]) if len(p) else threshold
    hard = p < limit
    if not hard.any():
        return 0 * logits.sum()
    return F.cross_entropy(logits_MK[hard], target_M[hard], weight, reduction="none").mean()


class TestOfficialNumbers:
    @pytest.mark.parametrize("case", CASES, ids=lambda case: "{seed}-{loss}".format(**case["in"]))
    def test_value_and_gradients_are_the_official_ones(self, case: dict[str, Any]) -> None:
        outputs, target = golden_inputs(case["in"])
        loss = golden_loss(case["in"])(outputs, target)
        gradients = torch.autograd.grad(loss, outputs)
        assert loss.item() == pytest.approx(case["out"]["loss"], rel=1e-9)
        assert [it.norm().item() for it in gradients] == pytest.approx(case["out"]["grad_l2"], rel=1e-8)

    @pytest.mark.parametrize("case", CASES, ids=lambda case: "{seed}-{loss}".format(**case["in"]))
    def test_float32_gives_the_official_value(self, case: dict[str, Any]) -> None:
        outputs, target = golden_inputs(case["in"])
        loss = golden_loss(case["in"])([output.float() for output in outputs], target)
        assert loss.dtype == torch.float32
        assert loss.item() == pytest.approx(case["out"]["loss_float32"], rel=1e-5)

    @pytest.mark.parametrize("case", EDGE_CASES, ids=lambda case: case["name"])
    def test_edge_cases_are_official_or_a_zero_with_a_gradient(self, case: dict[str, Any]) -> None:
        given_, out = case["in"], case["out"]
        [logits], target = golden_inputs(given_)
        weight = given_["balance_weights"][0]
        if given_["loss"] == "ohem":
            loss = weight * ohem(logits, target, given_["thres"], given_["min_kept"])
        else:
            loss = weight * cross_entropy(logits, target)
        official = out.get("loss", "nan")
        assert loss.item() == pytest.approx(0 if official == "nan" else official, rel=1e-9)
        assert gradient_norm(loss, logits) == pytest.approx(0 if official == "nan" else out["grad_l2"][0], rel=1e-8)


class TestOhem:
    @settings(deadline=None)
    @given(
        seed=st.integers(0, 10**6),
        size=st.integers(1, 7),
        ignored=st.sampled_from([0.0, 0.3, 0.9, 1.0]),
        margin=st.sampled_from([0.0, 3.0, 40.0]),
        ties=st.booleans(),
        threshold=st.sampled_from([0.0, 0.3, 0.7, 0.9, 1.0]),
        min_kept=st.integers(-1, 110),
        weight=st.sampled_from([None, WEIGHT]),
    )
    def test_it_is_the_sorting_form(
        self,
        seed: int,
        size: int,
        ignored: float,
        margin: float,
        ties: bool,
        threshold: float,
        min_kept: int,
        weight: Tensor | None,
    ) -> None:
        logits, target = example(seed, ignored, size)
        logits = logits.detach() + margin * (target[:, None] == torch.arange(5)[:, None, None])
        if ties:  # both images alike, and both halves of each
            logits, target = logits[:1].repeat(2, 1, 1, 2), target[:1].repeat(2, 1, 2)
        logits.requires_grad_()
        expected = sorted_ohem(logits, target, threshold, min_kept, weight)
        found = ohem(logits, target, threshold, min_kept, weight)
        assert found.item() == pytest.approx(expected.item(), rel=1e-9, abs=1e-13)
        torch.testing.assert_close(*torch.autograd.grad(found, logits), *torch.autograd.grad(expected, logits))

    @settings(deadline=None)
    @given(
        p=st.lists(st.sampled_from([0.0, 0.1, 0.3, 0.7, 0.9, 1.0]), min_size=1, max_size=12),
        ignored=st.lists(st.sampled_from([0.0, 0.5, 1.0]), max_size=5),
        threshold=st.sampled_from([0.0, 0.3, 0.8, 1.0]),
        min_kept=st.integers(1, 20),
    )
    def test_the_limit_of_what_is_hard_is_that_of_the_sorted_probabilities(
        self, p: list[float], ignored: list[float], threshold: float, min_kept: int
    ) -> None:
        valid = torch.arange(len(p) + len(ignored)) < len(p)
        expected = max(threshold, sorted(p)[min(min_kept, len(p) - 1)])
        assert ohem_limit(torch.tensor(p + ignored, dtype=torch.float64), valid, threshold, min_kept).item() == expected

    def test_a_diverged_model_gives_no_finite_loss(self) -> None:
        logits, target = example()
        assert ohem(torch.full_like(logits, torch.nan), target).isnan()
        logits.data[0, :, 0, 0] = torch.nan
        target[0, 0, 0] = 1
        assert ohem(logits, target, min_kept=1).isnan()


class TestCrossEntropyAndFocal:
    @pytest.mark.parametrize("smoothing", [0.0, 0.1])
    @pytest.mark.parametrize("weight", [None, WEIGHT])
    def test_cross_entropy_is_torchs_mean_over_the_pixels_that_count(
        self, weight: Tensor | None, smoothing: float
    ) -> None:
        logits, target = example()
        expected = F.cross_entropy(logits, target, weight, ignore_index=IGNORED, label_smoothing=smoothing)
        assert cross_entropy(logits, target, weight, smoothing).item() == pytest.approx(expected.item(), rel=1e-12)

    @pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0])
    @pytest.mark.parametrize("smoothing", [0.0, 0.1])
    @pytest.mark.parametrize("weight", [None, WEIGHT])
    def test_focal_loss_is_that_of_the_pixels_as_images(
        self, weight: Tensor | None, smoothing: float, gamma: float
    ) -> None:
        logits, target = example()
        valid = target != IGNORED
        expected = image_losses.focal(logits.movedim(1, -1)[valid], target[valid], gamma, weight, smoothing)
        assert focal(logits, target, gamma, weight, smoothing).item() == pytest.approx(expected.item(), rel=1e-12)


@pytest.mark.parametrize("spec", KINDS, ids=lambda spec: spec.name)
class TestEveryKind:
    def test_ignored_pixels_change_neither_value_nor_gradient(self, spec: Loss) -> None:
        loss, (logits, target) = make_segmentation_loss(spec, WEIGHT, True), example()
        other = logits.detach().where((target != IGNORED)[:, None], normal(1, 2, 5, 8, 8, scale=20)).requires_grad_()
        values = [loss(x, target) for x in (logits, other)]
        gradients = [torch.autograd.grad(value, x)[0] for value, x in zip(values, (logits, other), strict=True)]
        assert values[0].item() == pytest.approx(values[1].item(), rel=1e-12)
        torch.testing.assert_close(*gradients)
        assert gradients[1].movedim(1, -1)[target == IGNORED].count_nonzero() == 0

    def test_a_batch_of_ignored_pixels_gives_a_zero_with_a_gradient(self, spec: Loss) -> None:
        logits, target = example(ignored=1)
        loss = make_segmentation_loss(spec, WEIGHT, True)([logits, logits], target)
        assert loss.item() == 0
        assert gradient_norm(loss, logits) == 0

    def test_a_perfect_prediction_costs_nothing(self, spec: Loss) -> None:
        _, target = example()
        logits = 100.0 * (target[:, None] == torch.arange(5)[:, None, None]).double()
        assert make_segmentation_loss(spec, WEIGHT, True)(logits, target).item() == pytest.approx(0, abs=1e-12)

    def test_masks_are_bytes_or_int64(self, spec: Loss) -> None:
        loss, (logits, target) = make_segmentation_loss(spec, WEIGHT, True), example()
        assert loss(logits, target.byte()).item() == loss(logits, target).item()

    def test_a_model_with_several_outputs_has_its_last_one_mined_and_0_4_of_the_others(self, spec: Loss) -> None:
        loss, (coarse, target) = make_segmentation_loss(spec, WEIGHT, True), example()
        fine, _ = example(1)
        other = cross_entropy_of_all(coarse, target, WEIGHT) if spec.name == "ohem" else loss(coarse, target)
        expected = 0.4 * other + loss(fine, target)
        assert loss([coarse, fine], target).item() == pytest.approx(expected.item(), rel=1e-12)


@pytest.mark.parametrize("spec", [it for it in KINDS if it.name != "lovasz"], ids=lambda spec: spec.name)
def test_no_loss_but_lovasz_softmax_waits_for_a_value(spec: Loss) -> None:
    logits, target = (it.to("meta") for it in example())  # without values: to read one is an error
    loss = make_segmentation_loss(spec, WEIGHT.to("meta"), True)([logits, logits[..., ::2]], target.byte())
    assert torch.autograd.grad(loss, logits)[0].shape == logits.shape


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        (CrossEntropy(label_smoothing=0.1), lambda x, y: cross_entropy(x, y, WEIGHT, 0.1)),
        (Focal(name="focal", gamma=1.5, label_smoothing=0.1), lambda x, y: focal(x, y, 1.5, WEIGHT, 0.1)),
        (Ohem(name="ohem", threshold=0.5, min_kept=7), lambda x, y: ohem(x, y, 0.5, 7, WEIGHT)),
        (Dice(name="dice"), lambda x, y: dice(x, y) + cross_entropy(x, y, WEIGHT)),
        (Dice(name="dice", cross_entropy=0.0), dice),
        (
            Lovasz(name="lovasz", cross_entropy=0.5),
            lambda x, y: lovasz_softmax(x, y) + 0.5 * cross_entropy(x, y, WEIGHT),
        ),
    ],
)
def test_a_recipe_names_the_loss_and_all_that_belongs_to_it(spec: Loss, expected: Any) -> None:
    logits, target = example()
    assert make_segmentation_loss(spec, WEIGHT, True)(logits, target).item() == expected(logits, target).item()


def test_each_output_has_its_own_weight_and_way_of_upsampling() -> None:
    target = example()[1]
    outputs = [normal(seed, 2, 5, 3, 4) for seed in (1, 2)]
    spec = CrossEntropy(output_weights=(0.7, 2.0), align_corners=(True, False))
    coarse, fine = (
        F.interpolate(x, (8, 8), mode="bilinear", align_corners=it)
        for x, it in zip(outputs, (True, False), strict=True)
    )
    expected = 0.7 * cross_entropy(coarse, target) + 2 * cross_entropy(fine, target)
    for model in (True, False):
        assert make_segmentation_loss(spec, None, model)(outputs, target).item() == pytest.approx(expected.item())


@pytest.mark.parametrize(("recipe", "model", "used"), [(None, True, True), (None, False, False), (False, True, False)])
def test_the_model_says_how_to_upsample_where_the_recipe_does_not(recipe: bool | None, model: bool, used: bool) -> None:
    logits, target = normal(1, 2, 5, 3, 4), example()[1]
    expected = cross_entropy(upsample(logits, target, used), target)
    found = make_segmentation_loss(CrossEntropy(align_corners=recipe), None, model)(logits, target)
    assert found.item() == expected.item()


@pytest.mark.parametrize(
    ("key", "spec"),
    [
        ("output_weights", CrossEntropy(output_weights=(0.4, 1.0))),
        ("align_corners", CrossEntropy(align_corners=(True, True))),
    ],
)
def test_a_list_for_another_number_of_outputs_is_refused(key: str, spec: Loss) -> None:
    logits, target = example()
    with pytest.raises(ConvsmithError, match=rf"^loss\.{key} lists 2 values, but the model has 1 output"):
        make_segmentation_loss(spec, None, True)(logits, target)


def test_a_loss_of_images_only_is_refused() -> None:
    with pytest.raises(AssertionError, match="binary_cross_entropy is not a loss of pixels"):
        make_segmentation_loss(BinaryCrossEntropy(name="binary_cross_entropy"), None, True)
