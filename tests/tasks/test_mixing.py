from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from convsmith.recipe.mixing import Mixing
from convsmith.tasks.losses import as_shares, cross_entropy, smoothed
from convsmith.tasks.mixing import Mix, cutmix_box, draw_mix, kept_share
from tests.tasks.training_goldens import cases, gradient_norm, normal

BATCHES = st.tuples(st.integers(1, 6), st.integers(1, 9), st.integers(1, 9))


def one_hot(case: dict[str, Any]) -> Tensor:
    classes = case["in"].get("classes") or case["in"]["num_classes"]
    return as_shares(torch.tensor(case["in"]["labels"]), torch.zeros(1, classes, dtype=torch.float64))


def loss_and_gradient(case: dict[str, Any], labels: Tensor, smoothing: float) -> tuple[float, float]:
    logits = normal(case["in"]["logits_seed"], *labels.shape).requires_grad_()
    loss = cross_entropy(logits, labels, smoothing=smoothing)
    return float(loss.detach()), gradient_norm(loss, logits)


def constants(count: int) -> Tensor:
    """A batch whose image i is constant i."""
    return torch.arange(count, dtype=torch.float64).view(-1, 1, 1, 1).expand(-1, 3, 4, 5)


@pytest.mark.parametrize("case", cases("mixup", "gluon"))
def test_mixup_in_reverse_is_that_of_gluon(case: dict[str, Any]) -> None:
    labels, out, eta = one_hot(case), case["out"], case["in"]["eta"]
    mix = Mix("reversed", case["in"]["lam"])
    for mixed in (smoothed(mix.labels(labels), eta), mix.labels(smoothed(labels, eta))):
        assert mixed.numpy() == pytest.approx(np.array(out["soft_labels"]), rel=1e-12)
    loss, gradient = loss_and_gradient(case, mix.labels(labels), eta)
    assert loss == pytest.approx(out["mean"], rel=1e-12)
    assert gradient == pytest.approx(out["grad_l2_after_division_by_batch"], rel=1e-9)


@pytest.mark.parametrize("case", cases("mixup", "torchvision_mixup"))
def test_mixup_with_the_neighbour_is_that_of_torchvision(case: dict[str, Any]) -> None:
    labels, out = one_hot(case), case["out"]
    mix = Mix("rolled", case["in"]["lam"])
    assert mix.labels(labels).numpy() == pytest.approx(np.array(out["soft_labels"]), rel=1e-12)
    expected = torch.tensor(out["mixed_image_value_per_sample"], dtype=torch.float64).view(-1, 1, 1, 1)
    torch.testing.assert_close(mix.images(constants(len(labels))), expected.expand(-1, 3, 4, 5))
    loss, gradient = loss_and_gradient(case, mix.labels(labels), case["in"]["label_smoothing"])
    assert loss == pytest.approx(out["loss"], rel=1e-12)
    assert gradient == pytest.approx(out["grad_l2"], rel=1e-9)


@pytest.mark.parametrize("case", cases("mixup", "torchvision_cutmix"))
def test_cutmix_with_the_neighbour_is_that_of_torchvision(case: dict[str, Any]) -> None:
    labels, given_, out = one_hot(case), case["in"], case["out"]
    height, width = given_["H"], given_["W"]
    box = cutmix_box(height, width, given_["lam_drawn"], given_["centre_y"], given_["centre_x"])
    y1, y2, x1, x2 = box
    nothing_cut = kept_share(box, height, width) == 1
    assert (None if nothing_cut else [x1, y1, x2, y2]) == out["box_x1_y1_x2_y2"]
    mix = Mix("rolled", kept_share(box, height, width), box)
    assert mix.lam == pytest.approx(out["lam_used"], rel=1e-12)
    assert mix.labels(labels).numpy() == pytest.approx(np.array(out["soft_labels"]), abs=1e-11)
    loss, gradient = loss_and_gradient(case, mix.labels(labels), given_["label_smoothing"])
    assert loss == pytest.approx(out["loss"], rel=1e-12)
    assert gradient == pytest.approx(out["grad_l2"], rel=1e-9)


@pytest.mark.parametrize("case", cases("mixup", "timm_target"))
def test_mixed_labels_are_those_of_timm(case: dict[str, Any]) -> None:
    labels, out, smoothing = one_hot(case), case["out"], case["in"]["smoothing"]
    mixed = Mix("reversed", case["in"]["lam"]).labels(labels)
    assert smoothed(mixed, smoothing).numpy() == pytest.approx(np.array(out["soft_labels"]), rel=1e-6, abs=1e-8)
    loss, gradient = loss_and_gradient(case, mixed, smoothing)
    assert loss == pytest.approx(out["loss"], rel=1e-6)
    assert gradient == pytest.approx(out["grad_l2"], rel=1e-6)


@pytest.mark.parametrize("case", cases("mixup", "timm_mixup"))
def test_mixing_is_that_of_the_timm_that_convnext_was_trained_with(case: dict[str, Any]) -> None:
    labels, given_ = smoothed(one_hot(case), case["in"]["label_smoothing"]), case["in"]
    draws = replay_timm(given_) if "cutmix_minmax" not in given_ else None
    for call in case["out"]["six_calls_in_a_row_timm_1_0_29_dev"]:
        box = tuple(call["box_y1_y2_x1_x2"]) if call["box_y1_y2_x1_x2"] else None
        if draws:
            kind, lam, drawn_box = next(draws)
            assert (kind, drawn_box) == (call["kind"], box)
            assert lam == pytest.approx(call["lam"], rel=1e-12)
        if box:
            assert kept_share(box, given_["H"], given_["W"]) == pytest.approx(call["lam"], rel=1e-12)
        mixed = Mix("reversed", call["lam"], box).labels(labels)
        assert mixed[0].numpy() == pytest.approx(np.array(call["target_of_sample_0"]), rel=1e-6, abs=1e-8)


def replay_timm(given_: dict[str, Any]) -> Any:
    """Kind, weight and box of each call, drawn from numpy's generator in timm's order."""
    random, height, width = np.random.RandomState(given_["numpy_seed"]), given_["H"], given_["W"]
    alphas = {"mixup": given_["mixup_alpha"], "cutmix": given_["cutmix_alpha"]}
    while True:
        if random.rand() >= given_.get("prob", 1.0):
            yield "none", 1.0, None
            continue
        kinds = [kind for kind, alpha in alphas.items() if alpha > 0]
        kind = kinds[int(random.rand() < given_["switch_prob"])] if len(kinds) == 2 else kinds[0]
        lam, box = random.beta(alphas[kind], alphas[kind]), None
        if kind == "cutmix":
            box = cutmix_box(height, width, lam, random.randint(0, height), random.randint(0, width))
            lam = kept_share(box, height, width)
        yield kind, lam, box


@pytest.mark.parametrize("case", cases("mixup", "resnest_torch"))
def test_mixup_by_a_permutation_is_that_of_resnest_in_torch(case: dict[str, Any]) -> None:
    labels, out = one_hot(case), case["out"]
    mix = Mix(torch.tensor(case["in"]["permutation"]), case["in"]["lam"])
    assert mix.labels(labels).numpy() == pytest.approx(np.array(out["soft_labels_before_smoothing"]), rel=1e-6)
    expected = torch.tensor(out["mixed_image_value_per_sample"], dtype=torch.float64)
    torch.testing.assert_close(mix.images(constants(len(labels)))[:, 0, 0, 0], expected, rtol=1e-6, atol=0)
    loss, gradient = loss_and_gradient(case, mix.labels(labels), case["in"]["smoothing"])
    assert loss == pytest.approx(out["loss_float32_inside"], rel=1e-6)
    assert gradient == pytest.approx(out["grad_l2"], rel=1e-6)


@pytest.mark.parametrize("case", cases("mixup", "same_function_other_partner"))
def test_official_codes_differ_only_in_the_partner(case: dict[str, Any]) -> None:
    labels = one_hot(case)
    for kind, key in (
        ("reversed", "partner_reversed (gluon, timm)"),
        ("rolled", "partner_rolled_by_one (torchvision)"),
    ):
        mixed = Mix(kind, case["in"]["lam"]).labels(labels)  # type: ignore[arg-type]
        loss, _ = loss_and_gradient(case, mixed, case["in"]["smoothing"])
        assert loss == pytest.approx(case["out"][key], rel=1e-12)


@given(shape=BATCHES, rolled=st.booleans(), cut=st.booleans())
def test_a_partner_by_name_is_the_one_with_that_number(shape: tuple[int, int, int], rolled: bool, cut: bool) -> None:
    count, height, width = shape
    images, labels = torch.rand(count, 3, height, width), torch.rand(count, 4)
    numbers = torch.arange(count).roll(1) if rolled else torch.arange(count).flip(0)
    box = (0, height // 2, 0, width) if cut else None
    named, numbered = Mix("rolled" if rolled else "reversed", 0.3, box), Mix(numbers, 0.3, box)
    assert torch.equal(named.images(images), numbered.images(images))
    assert torch.equal(named.labels(labels), numbered.labels(labels))


@given(
    shape=BATCHES,
    seed=st.integers(0, 2**32),
    alphas=st.tuples(st.floats(0.01, 5), st.floats(0.01, 5)),
    partner=st.sampled_from(["rolled", "reversed", "random"]),
)
def test_mixing_keeps_the_mass_of_labels_and_the_range_of_pixels(
    shape: tuple[int, int, int], seed: int, alphas: tuple[float, float], partner: Any
) -> None:
    torch.manual_seed(seed)
    count, height, width = shape
    images, labels = torch.rand(count, 3, height, width), torch.rand(count, 4).softmax(1)
    before = images.clone()
    mix = draw_mix(Mixing(mixup_alpha=alphas[0], cutmix_alpha=alphas[1], partner=partner), images)
    assert mix is not None
    assert 0 <= mix.lam <= 1
    mixed = mix.images(images)
    assert torch.equal(images, before)
    assert mixed.shape == images.shape
    assert images.amin() - 1e-6 <= mixed.amin()
    assert mixed.amax() <= images.amax() + 1e-6
    # each image is as much in the batch as before, so each class is too
    torch.testing.assert_close(mix.labels(labels).sum(0), labels.sum(0))
    torch.testing.assert_close(mix.labels(labels).sum(1), torch.ones(count))


@given(shape=BATCHES, seed=st.integers(0, 2**32))
def test_an_image_that_keeps_all_of_itself_stays_as_it_is(shape: tuple[int, int, int], seed: int) -> None:
    torch.manual_seed(seed)
    count, height, width = shape
    images, labels = torch.randn(count, 3, height, width), torch.rand(count, 4)
    centre = seed % height, seed % width
    box = cutmix_box(height, width, 1.0, *centre)
    assert kept_share(box, height, width) == 1
    for mix in (Mix("rolled", 1.0), Mix("rolled", 1.0, box)):
        assert torch.equal(mix.images(images), images)
        assert torch.equal(mix.labels(labels), labels)


@given(st.integers(1, 40), st.integers(1, 40), st.floats(0, 1), st.data())
def test_the_label_of_cutmix_counts_the_pixels_that_were_cut(
    height: int, width: int, lam: float, data: st.DataObject
) -> None:
    centre = data.draw(st.integers(0, height - 1)), data.draw(st.integers(0, width - 1))
    box = cutmix_box(height, width, lam, *centre)
    images = torch.arange(2.0).view(2, 1, 1, 1).expand(2, 1, height, width)
    mixed = Mix("rolled", kept_share(box, height, width), box).images(images)
    assert 1 - float(mixed[0].mean()) == pytest.approx(kept_share(box, height, width), abs=1e-6)


def test_cutmix_takes_the_box_from_the_partner_and_the_rest_from_the_image() -> None:
    images = torch.arange(3.0).view(3, 1, 1, 1).expand(3, 2, 6, 6)
    mixed = Mix("rolled", 0.0, (1, 3, 2, 6)).images(images)
    assert (mixed[1, :, 1:3, 2:6] == 0).all()
    assert float(mixed[1].sum()) == 2 * (36 - 8)


@pytest.mark.parametrize("partner", ["rolled", "reversed", torch.tensor([2, 3, 0, 1])])
@pytest.mark.parametrize("box", [None, (0, 2, 1, 3)])
def test_the_memory_layout_stays(partner: Any, box: Any) -> None:
    images = torch.rand(4, 3, 5, 6).contiguous(memory_format=torch.channels_last)
    mixed = Mix(partner, 0.4, box).images(images)
    assert mixed.is_contiguous(memory_format=torch.channels_last)


def test_the_draws_come_from_torchs_generator() -> None:
    images, mixing = torch.zeros(8, 3, 9, 9), Mixing(mixup_alpha=0.4, cutmix_alpha=1.0, partner="random")
    drawn = []
    for seed in (5, 5, 6):
        torch.manual_seed(seed)
        mixes = [draw_mix(mixing, images) for _ in range(10)]
        drawn.append([(torch.as_tensor(mix.partner).tolist(), mix.lam, mix.box) for mix in mixes if mix])
    assert drawn[0] == drawn[1] != drawn[2]


def test_the_shares_of_mixing_and_of_cutmix_are_those_asked_for() -> None:
    torch.manual_seed(0)
    mixing = Mixing(mixup_alpha=1.0, cutmix_alpha=1.0, probability=0.8, switch_probability=0.25)
    drawn = [draw_mix(mixing, torch.zeros(2, 1, 4, 4)) for _ in range(2000)]
    mixed = [mix for mix in drawn if mix]
    assert len(mixed) / len(drawn) == pytest.approx(0.8, abs=0.04)  # four standard errors
    assert sum(mix.box is not None for mix in mixed) / len(mixed) == pytest.approx(0.25, abs=0.05)


@pytest.mark.parametrize(("alphas", "cuts"), [((0.2, 0.0), False), ((0.0, 0.2), True)])
def test_one_kind_alone_is_always_taken(alphas: tuple[float, float], cuts: bool) -> None:
    mixing = Mixing(mixup_alpha=alphas[0], cutmix_alpha=alphas[1])
    for _ in range(20):
        mix = draw_mix(mixing, torch.zeros(2, 1, 4, 4))
        assert mix is not None
        assert (mix.box is not None) == cuts


@pytest.mark.parametrize("alpha", [0.2, 1.0, 3.0])
def test_the_weight_follows_its_beta_distribution(alpha: float) -> None:
    torch.manual_seed(1)
    mixing = Mixing(mixup_alpha=alpha)
    weights = [mix.lam for _ in range(2000) if (mix := draw_mix(mixing, torch.zeros(2, 1, 2, 2)))]
    assert np.mean(weights) == pytest.approx(0.5, abs=0.05)
    assert np.var(weights) == pytest.approx(1 / (4 * (2 * alpha + 1)), rel=0.15)
