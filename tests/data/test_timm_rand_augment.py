from __future__ import annotations

from collections import Counter
from itertools import product
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from convsmith.data.augment import timm_rand_augment as module
from convsmith.data.augment.policies import make_policy
from convsmith.data.augment.timm_rand_augment import OPERATIONS, change, timm_rand_augment
from convsmith.recipe.augmentation import TimmRandAugment
from convsmith.spec import Preprocess

IMAGENET = (0.485, 0.456, 0.406)
FILL = (124, 116, 104)


def photo(width: int = 61, height: int = 43) -> Image.Image:
    """Smooth shapes of many colours, with some noise."""
    y, x = np.mgrid[:height, :width] / 20
    smooth = np.stack([np.sin(x + y), np.cos(x - 2 * y), np.sin(3 * x) * np.cos(y)], axis=-1) * 90 + 120
    noise = np.random.default_rng(0).normal(0, 8, smooth.shape)
    return Image.fromarray((smooth + noise).clip(0, 255).astype(np.uint8))


def timms_name(name: str, increasing: bool) -> str:
    if name.startswith("Translate"):
        return f"{name}Rel"
    grows = {"Posterize", "Solarize", "Color", "Contrast", "Brightness", "Sharpness"}
    return f"{name}Increasing" if increasing and name in grows else name


@pytest.mark.parametrize("increasing", [False, True])
@pytest.mark.parametrize("name", OPERATIONS)
def test_every_operation_is_timms(name: str, increasing: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    timm = pytest.importorskip("timm.data.auto_augment")
    for magnitude, sign, mode in product((0, 0.3, 1, 3.7, 5, 9, 9.6, 10), (1, -1), ("BILINEAR", "BICUBIC")):
        resampling = Image.Resampling[mode]
        if name == "Posterize" and (int(magnitude * 0.4) == 4 if increasing else magnitude < 2.5):
            continue  # to 0 bits: timm fails
        hparams = {"img_mean": FILL, "interpolation": resampling}
        operation = timm.AugmentOp(timms_name(name, increasing), prob=1.0, magnitude=magnitude, hparams=hparams)
        monkeypatch.setattr(timm.random, "random", lambda sign=sign: 0.25 if sign > 0 else 0.75)
        ours = change(photo(), name, magnitude, sign, increasing=increasing, resampling=resampling, fill=FILL)
        assert ours.tobytes() == operation(photo()).tobytes(), (magnitude, sign, mode)


@pytest.mark.parametrize("increasing", [False, True])
def test_the_operations_and_defaults_are_timms(increasing: bool) -> None:
    timm = pytest.importorskip("timm.data.auto_augment")
    policy = TimmRandAugment(name="timm_rand_augment", increasing=increasing)
    official = timm.rand_augment_transform(f"rand-m9-mstd0.5-inc{increasing:d}", {})
    assert [op.name for op in official.ops] == [timms_name(name, increasing) for name in OPERATIONS]
    assert official.num_layers == policy.num_ops
    assert {(op.prob, op.magnitude, op.magnitude_std, op.magnitude_max) for op in official.ops} == {
        (policy.probability, policy.magnitude, policy.magnitude_std, None)
    }
    assert set(official.ops[0].kwargs["resample"]) == {Image.Resampling.BILINEAR, Image.Resampling.BICUBIC}


def test_posterizing_to_no_bits_gives_black_as_pillow_did_when_convnext_was_trained() -> None:
    black = change(photo(), "Posterize", 10, 1, increasing=True, resampling=Image.Resampling.BILINEAR, fill=FILL)
    assert not np.asarray(black).any()


def calls(monkeypatch: pytest.MonkeyPatch, images: int = 1000, **options: Any) -> list[tuple[Any, ...]]:
    """The arguments after the image of all operations on some images."""
    found: list[tuple[Any, ...]] = []

    def note(image: Image.Image, *arguments: Any, **named: Any) -> Image.Image:
        found.append((*arguments, *named.values()))
        return image

    monkeypatch.setattr(module, "change", note)
    augment = timm_rand_augment(TimmRandAugment(name="timm_rand_augment", **options), IMAGENET)
    torch.manual_seed(0)
    for _ in range(images):
        augment(photo())
    return found


def test_operations_are_drawn_alike_and_applied_with_their_probability(monkeypatch: pytest.MonkeyPatch) -> None:
    counts = Counter(name for name, *_ in calls(monkeypatch, num_ops=3, probability=0.5))
    assert counts.total() == pytest.approx(1500, abs=4 * (3000 * 0.25) ** 0.5)
    assert set(counts) == set(OPERATIONS)
    assert all(abs(count - 100) < 5 * 100**0.5 for count in counts.values())


def test_magnitudes_are_normal_around_the_mean_and_cut_off_at_10(monkeypatch: pytest.MonkeyPatch) -> None:
    magnitudes = np.array([magnitude for _, magnitude, *_ in calls(monkeypatch, probability=1.0)])
    assert magnitudes.max() == 10
    assert (magnitudes == 10).mean() == pytest.approx(0.0228, abs=0.015)
    assert np.median(magnitudes) == pytest.approx(9, abs=0.06)
    assert np.quantile(magnitudes, 0.1587) == pytest.approx(8.5, abs=0.08)


def test_magnitudes_are_cut_off_at_0(monkeypatch: pytest.MonkeyPatch) -> None:
    magnitudes = np.array([call[1] for call in calls(monkeypatch, magnitude=0.0, magnitude_std=1.0, probability=1.0)])
    assert (magnitudes == 0).mean() == pytest.approx(0.5, abs=0.05)
    assert magnitudes.min() == 0


def test_without_deviation_all_magnitudes_are_the_mean(monkeypatch: pytest.MonkeyPatch) -> None:
    assert {call[1] for call in calls(monkeypatch, 50, magnitude=7.0, magnitude_std=0.0)} == {7.0}


def test_both_directions_and_both_interpolations_are_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = Counter((sign, resampling) for _, _, sign, _, resampling, _ in calls(monkeypatch, probability=1.0))
    assert len(drawn) == 4
    assert all(abs(count - 500) < 100 for count in drawn.values())


def test_a_given_interpolation_and_the_mean_colour_are_used(monkeypatch: pytest.MonkeyPatch) -> None:
    found = {call[4:] for call in calls(monkeypatch, 50, interpolation="bicubic")}
    assert found == {(Image.Resampling.BICUBIC, FILL)}


def test_as_a_policy_it_changes_tensors() -> None:
    image = torch.from_numpy(np.asarray(photo()).copy()).permute(2, 0, 1)
    policy = TimmRandAugment(name="timm_rand_augment", magnitude=9.0)
    torch.manual_seed(1)
    changed = make_policy(policy, Preprocess(resize=8, crop=8))(image)
    torch.manual_seed(1)
    expected = timm_rand_augment(policy, IMAGENET)(photo())
    assert changed.permute(1, 2, 0).numpy().tobytes() == expected.tobytes()
    assert not torch.equal(changed, image)
