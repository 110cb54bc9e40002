"""How an image becomes a mask equals the official procedure, whatever its size, and costs a bounded memory."""

from __future__ import annotations

import json
import tracemalloc
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from convsmith.bundle import bilinear
from convsmith.bundle import segment as segment_module
from convsmith.bundle.bilinear import resize_bilinear
from convsmith.bundle.images.image_error import ImageTooLarge
from convsmith.bundle.scores import spans
from convsmith.bundle.segment import argmax_classes, first_look, resized_size, scored_parts, segment
from convsmith.errors import ConvsmithError
from convsmith.spec import WholeImage, Window

GOLDENS = json.loads((Path(__file__).parents[1] / "goldens" / "training" / "seg_metrics.json").read_text("utf-8"))
CASES = GOLDENS["multi_scale_inference"]["cases"]
CLASSES = 5


class Convolution:
    """The model of the golden numbers: one 3x3 convolution, upsampled to its input's size."""

    def __init__(
        self, seed: int = 1, num_classes: int = CLASSES, stride: int = 2, scale: float = 0.15,
        outputs: int = 1, align_corners: bool = False,
    ) -> None:  # fmt: skip
        random = np.random.RandomState(seed)
        for _ in range(outputs):
            self.weight = torch.from_numpy((random.randn(num_classes, 3, 3, 3) * scale).astype(np.float32))
            self.bias = torch.from_numpy((random.randn(num_classes) * scale).astype(np.float32))
        self.stride, self.align_corners = stride, align_corners
        self.seen: list[list[int]] = []

    def __call__(self, images: NDArray[Any]) -> NDArray[np.float32]:
        self.seen.append(list(images.shape[2:]))
        inputs = torch.from_numpy(images)
        if inputs.dtype == torch.uint8:
            inputs = inputs / 64 - 2
        logits = F.conv2d(inputs, self.weight, self.bias, self.stride, padding=1)
        size = images.shape[2:]
        result: NDArray[np.float32] = F.interpolate(
            logits, size, mode="bilinear", align_corners=self.align_corners
        ).numpy()
        return result


def pointwise(images: NDArray[Any]) -> NDArray[np.float32]:
    """Logits of a pixel that depend on nothing but its colour."""
    weight = np.random.RandomState(0).randint(-9, 9, (CLASSES, 3))
    logits: NDArray[np.float32] = np.einsum("kc,nchw->nkhw", weight / 256, images).astype(np.float32)
    return logits


def noise(height: int, width: int) -> NDArray[np.uint8]:
    return np.random.default_rng(height * 10_007 + width).integers(0, 256, (height, width, 3), np.uint8)


def whole(**keys: Any) -> WholeImage:
    return WholeImage(method="whole", **keys)


def summed_scores(
    image: NDArray[Any], spec: WholeImage, run: Any, num_classes: int, padding: Sequence[float] = (0, 0, 0)
) -> NDArray[np.float32]:
    """All parts' scores [K, H, W] as sums of exp(logits)."""
    scores = np.empty((num_classes, *image.shape[:2]), np.float32)
    for part in scored_parts(image, spec, run, num_classes, padding):
        planes = np.stack(list(part.planes))
        scores[:, part.rows, part.columns] = np.exp(planes) if part.are_logits else planes
    return scores


def official_spec(given: dict[str, Any]) -> WholeImage:
    crop = tuple(given["crop_size_hw"])
    window = (
        Window(size=crop, stride=crop, border="shift", above_scale=1.0)
        if given["dataset_class"] == "cityscapes"
        else Window(size=crop)
    )
    return whole(
        base_size=given["base_size"],
        scales=tuple(float(scale) for scale in given["scales"]),
        flip=given["flip"],
        mirrored_classes=((14, 15), (16, 17), (18, 19)) if given["dataset_class"] == "lip" else (),
        window=window,
        align_corners=given["align_corners"],
    )


@pytest.fixture(scope="module", params=range(len(CASES)))
def official(request: pytest.FixtureRequest) -> tuple[NDArray[np.float32], Convolution, dict[str, Any]]:
    """Our scores [K, H, W] of an official case, the model that was asked for them, and the official results."""
    given, out = CASES[request.param]["in"], CASES[request.param]["out"]
    image = np.random.RandomState(given["image_seed"]).rand(1, 3, *given["image_hw"]).astype(np.float32) * 4 - 2
    model = Convolution(
        given["weight_seed"], given["num_classes"], given["stride"], given["weight_scale"],
        given["num_outputs"], given["align_corners"],
    )  # fmt: skip
    spec = official_spec(given)
    padding = [-mean / std for mean, std in zip(spec.mean, spec.std, strict=True)]
    return summed_scores(image[0].transpose(1, 2, 0), spec, model, given["num_classes"], padding), model, out


Official = tuple[NDArray[np.float32], Convolution, dict[str, Any]]


def test_the_model_sees_the_official_sizes_in_their_order(official: Official) -> None:
    _, model, out = official
    assert model.seen == out["model_input_sizes_in_order"]


def test_scores_are_the_official_ones(official: Official) -> None:
    scores, _, out = official
    assert scores.sum(dtype=np.float64) == pytest.approx(out["sum"], rel=1e-4)
    assert np.linalg.norm(scores.astype(np.float64)) == pytest.approx(out["l2"], rel=1e-4)
    assert np.allclose(scores[0], out["values_class_0"], rtol=1e-4)
    if out["values_last_class"] is not None:
        assert np.allclose(scores[-1], out["values_last_class"], rtol=1e-4)


def test_the_mask_is_the_official_one(official: Official) -> None:
    scores, _, out = official
    expected = [[int(digit, 36) for digit in row] for row in out["argmax_rows"]]
    assert argmax_classes(scores).tolist() == expected


@pytest.mark.parametrize(
    ("height", "width", "base_size", "scale", "expected"),
    [
        (case["in"]["h"], case["in"]["w"], case["in"]["base_size"], scale, tuple(size))
        for case in GOLDENS["resized_sizes"]["cases"]
        for scale, size in case["out"]["[scale, [new_h, new_w]]"]
    ],
)
def test_sizes_are_the_official_ones(
    height: int, width: int, base_size: int, scale: float, expected: tuple[int, int]
) -> None:
    assert resized_size(height, width, int(base_size * scale + 0.5)) == expected


specs = st.builds(
    whole,
    base_size=st.none() | st.integers(1, 40),
    scales=st.lists(st.sampled_from([0.3, 0.5, 1.0, 1.5]), min_size=1, max_size=3).map(tuple),
    flip=st.booleans(),
    mirrored_classes=st.sampled_from([(), ((1, 2),)]),
    window=st.none()
    | st.builds(
        Window,
        size=st.tuples(st.integers(1, 30), st.integers(1, 30)),
        border=st.sampled_from(["pad", "shift"]),
        above_scale=st.sampled_from([0.0, 1.0]),
    ),
    align_corners=st.booleans(),
)


def all_scores(image: NDArray[np.uint8], spec: WholeImage, model: Convolution) -> NDArray[np.float32]:
    """The scores [K, H, W], of each size and of all its windows at once."""
    planes, (high, wide) = image.transpose(2, 0, 1), image.shape[:2]
    total = np.zeros((CLASSES, high, wide), np.float32)
    for scale in spec.scales:
        size = resized_size(high, wide, int((spec.base_size or max(high, wide)) * scale + 0.5))
        seen = np.rint(resize_bilinear(planes, size)).astype(np.uint8)
        window = spec.window if spec.window and scale > spec.window.above_scale else None
        powers, count = np.zeros((CLASSES, *size), np.float32), np.zeros(size, np.float32)
        for rows in spans(size, window)[0]:
            for columns in spans(size, window)[1]:
                part = seen[:, rows, columns]
                height, width = part.shape[1:]
                if window and window.border == "pad":
                    below, beside = (side - has for side, has in zip(window.size, (height, width), strict=True))
                    part = np.pad(part, ((0, 0), (0, below), (0, beside)))
                logits = model(part[None].copy())[0]
                if spec.flip:
                    mirrored = model(part[None, ..., ::-1].copy())[0, ..., ::-1]
                    partner = [0, 2, 1, 3, 4] if spec.mirrored_classes else list(range(CLASSES))
                    logits = (logits + mirrored[partner]) * np.float32(0.5)
                powers[:, rows, columns] += np.exp(np.ascontiguousarray(logits[:, :height, :width]))
                count[rows, columns] += 1
        total += resize_bilinear(powers / count, (high, wide), spec.align_corners)
    return total


@settings(deadline=None, max_examples=40)
@given(specs, st.integers(1, 40), st.integers(1, 40))
def test_the_first_look_is_what_the_model_sees_first(spec: WholeImage, height: int, width: int) -> None:
    seen: list[NDArray[Any]] = []

    def run(images: NDArray[Any]) -> NDArray[np.float32]:
        seen.append(images)
        return pointwise(images)

    segment(noise(height, width), spec, run, CLASSES)
    assert np.array_equal(first_look(noise(height, width), spec, CLASSES), seen[0][0])


@settings(deadline=None, max_examples=20)
@given(specs, st.integers(1, 40), st.integers(1, 40))
def test_the_scores_are_those_of_all_windows_held_at_once(spec: WholeImage, height: int, width: int) -> None:
    image = noise(height, width)
    scores = summed_scores(image, spec, Convolution(), CLASSES)
    assert np.array_equal(scores, all_scores(image, spec, Convolution()))


@settings(deadline=None, max_examples=25)
@given(specs, st.integers(1, 40), st.integers(1, 40), st.sampled_from([2**29, 4000, 500]))
def test_the_mask_is_where_the_scores_are_largest(spec: WholeImage, height: int, width: int, limit: int) -> None:
    image, model = noise(height, width), Convolution()
    scores = summed_scores(image, spec, model, CLASSES)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bilinear, "_STRIP", 150)
        patch.setattr(segment_module, "_check_scores", lambda *_: None)
        patch.setattr(segment_module, "MAX_SCORES", limit)  # the smaller, the narrower are the parts judged together
        assert np.array_equal(segment(image, spec, model, CLASSES), scores.argmax(axis=0))


@settings(deadline=None, max_examples=60)
@given(
    st.integers(1, 40), st.integers(1, 40), st.tuples(st.integers(1, 30), st.integers(1, 30)),
    st.sampled_from(["pad", "shift"]), st.data(),
)  # fmt: skip
def test_windows_change_nothing_where_pixels_are_judged_alone(
    height: int, width: int, size: tuple[int, int], border: Any, data: st.DataObject
) -> None:
    stride = data.draw(st.none() | st.tuples(st.integers(1, size[0]), st.integers(1, size[1])))
    window = Window(size=size, stride=stride, border=border)
    image = noise(height, width)
    by_windows = segment(image, whole(window=window), pointwise, CLASSES)
    assert np.array_equal(by_windows, segment(image, whole(), pointwise, CLASSES))


@given(st.integers(1, 20), st.integers(1, 20))
def test_a_window_that_holds_the_image_is_the_image_padded_with_black(height: int, width: int) -> None:
    image, padded = noise(height, width), np.zeros((20, 20, 3), np.uint8)
    padded[:height, :width] = image
    expected = segment(padded, whole(), Convolution(), CLASSES)[:height, :width]
    assert np.array_equal(segment(image, whole(window=Window(size=(20, 20))), Convolution(), CLASSES), expected)


def test_shifted_windows_are_no_larger_than_the_image() -> None:
    model = Convolution()
    segment(noise(10, 50), whole(window=Window(size=(20, 20), stride=(20, 20), border="shift")), model, CLASSES)
    assert model.seen == [[10, 20]] * 3


def test_a_flipped_look_makes_the_mask_of_the_mirror_image_the_mirrored_mask() -> None:
    image, spec = noise(30, 41), whole(flip=True)
    mask = segment(image, spec, Convolution(stride=1), CLASSES)
    assert np.array_equal(segment(image[:, ::-1], spec, Convolution(stride=1), CLASSES), mask[:, ::-1])


def test_mirrored_classes_change_places_in_the_mirror_image() -> None:
    partner = np.array([0, 2, 1, 3, 4], np.uint8)
    image, spec = noise(30, 41), whole(flip=True, mirrored_classes=((1, 2),))
    mask = segment(image, spec, Convolution(stride=1), CLASSES)
    assert np.array_equal(segment(image[:, ::-1], spec, Convolution(stride=1), CLASSES), partner[mask[:, ::-1]])


def test_the_model_gets_resized_bytes_that_are_rounded() -> None:
    seen: list[NDArray[Any]] = []

    def run(images: NDArray[Any]) -> NDArray[np.float32]:
        seen.append(images)
        return pointwise(images)

    image = noise(60, 80)
    segment(image, whole(base_size=50), run, CLASSES)
    expected = np.rint(resize_bilinear(image.transpose(2, 0, 1), (38, 50))).astype(np.uint8)
    assert seen[0].dtype == np.uint8
    assert np.array_equal(seen[0][0], expected)


def test_what_the_model_returns_is_left_as_it_is() -> None:
    logits = pointwise(noise(20, 30).transpose(2, 0, 1)[None])
    logits.flags.writeable = False
    for keys in ({}, {"flip": True}, {"scales": (1.0, 1.0)}):
        assert segment(noise(20, 30), whole(**keys), lambda images: logits, CLASSES).shape == (20, 30)


def test_a_warped_image_is_looked_at_as_a_square() -> None:
    model = Convolution()
    mask = segment(noise(30, 50), whole(base_size=20, warp=True, scales=(0.5, 1.0)), model, CLASSES)
    assert model.seen == [[10, 10], [20, 20]]
    assert mask.shape == (30, 50)


def test_a_thin_strip_keeps_a_pixel_of_width() -> None:
    assert segment(noise(400, 1), whole(base_size=40, scales=(0.5, 1.0)), pointwise, CLASSES).shape == (400, 1)


def test_huge_logits_do_not_overflow() -> None:
    def run(images: NDArray[Any]) -> NDArray[np.float32]:
        return pointwise(images) * 10 + 1000

    scores = summed_scores(noise(20, 30), whole(scales=(0.5, 1.0, 2.0), window=Window(size=(8, 8))), run, CLASSES)
    assert np.isfinite(scores).all()


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("base_size", [None, 10])
def test_logits_that_are_not_finite_are_an_error(bad: float, base_size: int | None) -> None:
    def run(images: NDArray[Any]) -> NDArray[np.float32]:
        logits = pointwise(images)
        logits[0, -1, -1, -1] = bad
        return logits

    with pytest.raises(ConvsmithError, match="not finite"):
        segment(noise(20, 30), whole(base_size=base_size), run, CLASSES)


def test_a_model_of_other_classes_is_an_error() -> None:
    with pytest.raises(ConvsmithError, match=r"7 classes .* logits \(1, 5, 20, 30\)"):
        segment(noise(20, 30), whole(), pointwise, 7)


def never(images: NDArray[Any]) -> NDArray[np.float32]:
    raise AssertionError("the model was run")


def test_an_image_that_is_too_large_for_one_look_is_refused_before_the_model_runs() -> None:
    with pytest.raises(ImageTooLarge, match=r"pan\.jpg is too large: .* 4097 x 4096 pixels at once"):
        segment(np.broadcast_to(np.uint8(0), (4096, 4097, 3)), whole(), never, 2, "pan.jpg")


def test_more_scores_than_fit_into_memory_are_refused_before_the_model_runs() -> None:
    image = np.broadcast_to(np.uint8(0), (4000, 3000, 3))
    with pytest.raises(ImageTooLarge, match="150 classes for 12000000 pixels at once are 1800000000 scores") as refused:
        segment(image, whole(), never, 150)
    assert "window" in refused.value.fix


def test_a_window_of_more_scores_than_fit_into_memory_is_refused_before_the_model_runs() -> None:
    image = np.broadcast_to(np.uint8(0), (4000, 3000, 3))
    with pytest.raises(ImageTooLarge, match="150 classes for 6000000 pixels at once") as refused:
        segment(image, whole(window=Window(size=(2000, 4000))), never, 150)
    assert "smaller `window`" in refused.value.fix


@pytest.mark.parametrize("size", [(4000, 3000), (8000, 8000)])
def test_windows_let_large_images_of_many_classes_through(size: tuple[int, int]) -> None:
    spec = whole(scales=(0.5, 1.0, 2.0), window=Window(size=(512, 512)))
    with pytest.raises(AssertionError, match="the model was run"):
        segment(np.broadcast_to(np.uint8(0), (*size, 3)), spec, never, 150)


@pytest.mark.parametrize(("base_size", "fix"), [(None, "Scale it down"), (4096, "Choose a smaller `base_size`")])
def test_the_refusal_says_what_helps(base_size: int | None, fix: str) -> None:
    with pytest.raises(ImageTooLarge, match=fix):
        segment(np.broadcast_to(np.uint8(0), (4100, 4100, 3)), whole(base_size=base_size, scales=(1.5,)), never, 2)


def test_published_settings_for_cityscapes_are_allowed() -> None:
    spec = whole(
        scales=(0.5, 0.75, 1.0, 1.25, 1.5, 1.75, 2.0), flip=True, base_size=2048,
        window=Window(size=(1024, 2048), stride=(1024, 2048), border="shift", above_scale=1.0),
    )  # fmt: skip
    with pytest.raises(AssertionError, match="the model was run"):
        segment(np.broadcast_to(np.uint8(0), (1024, 2048, 3)), spec, never, 19)


def test_scores_of_the_original_size_are_never_held_all_at_once() -> None:
    def run(images: NDArray[Any]) -> NDArray[np.float32]:
        return np.zeros((1, 50, *images.shape[2:]), np.float32)

    image = noise(1000, 1000)
    tracemalloc.start()
    try:
        segment(image, whole(base_size=50), run, 50)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 20e6  # the scores [50, 1000, 1000] would be 200e6


@pytest.mark.parametrize(
    ("size", "limit", "most"),
    [
        ((1000, 400), 2**29, 50e6),  # the scores [50, 1000, 400] would be 80e6
        ((100, 2000), 2_500_000, 20e6),  # those of windows across the whole image would be 30e6
    ],
)
def test_scores_of_windows_are_held_only_where_others_overlap_them_and_as_many_as_may(
    size: tuple[int, int], limit: int, most: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    def run(images: NDArray[Any]) -> NDArray[np.float32]:
        return np.zeros((1, 50, *images.shape[2:]), np.float32)

    monkeypatch.setattr(segment_module, "MAX_SCORES", limit)
    image = noise(*size)
    tracemalloc.start()
    try:
        segment(image, whole(window=Window(size=(64, 64))), run, 50)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < most


def test_small_strips_give_the_same_mask(monkeypatch: pytest.MonkeyPatch) -> None:
    image, spec = noise(50, 60), whole(base_size=31, scales=(0.5, 1.0))
    expected = segment(image, spec, Convolution(), CLASSES)
    monkeypatch.setattr(bilinear, "_STRIP", 150)
    assert np.array_equal(segment(image, spec, Convolution(), CLASSES), expected)


@given(arrays(np.float32, st.tuples(st.integers(1, 255), st.just(2), st.just(3)), elements=st.integers(-3, 3)))
def test_argmax_is_numpys_and_of_equal_scores_takes_the_lower_class(scores: NDArray[np.float32]) -> None:
    assert np.array_equal(argmax_classes(scores), scores.argmax(axis=0))
