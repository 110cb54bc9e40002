"""Segmentation as the trainer sees it: which models it takes, what it minimises, and how it judges."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.nn import functional

from convsmith.bundle.figures.segmentation_metrics import SegmentationResults
from convsmith.bundle.segment import segment
from convsmith.data.masks.mask_data import MaskData
from convsmith.data.masks.mask_folder import open_mask_folder
from convsmith.errors import ConvsmithError
from convsmith.recipe.load import load_recipe
from convsmith.recipe.mask_data import Masks
from convsmith.recipe.schema import Recipe
from convsmith.spec import IGNORED, WholeImage, Window
from convsmith.tasks.distillation import pixel_distance
from convsmith.tasks.losses import class_weights
from convsmith.tasks.segmentation import JudgedMasks, check_model, logits, new_results, objective
from convsmith.tasks.segmentation_losses import make_segmentation_loss
from tests.tasks.tiny import tiny
from tests.tasks.tiny_segmenter import TinySegmenter

CPU = torch.device("cpu")
CLASSES = 4


def recipe(*overrides: str) -> Recipe:
    return load_recipe("digit-scenes", ["loss.class_weights=null", *overrides])


def model() -> TinySegmenter:
    torch.manual_seed(0)
    return TinySegmenter(CLASSES)


def batch(height: int = 9, width: int = 14) -> tuple[Tensor, Tensor]:
    """Normalised images [2, 3, H, W] and masks [2, H, W] with some ignored pixels."""
    generator = torch.Generator().manual_seed(0)
    masks = torch.randint(0, CLASSES, (2, height, width), generator=generator, dtype=torch.uint8)
    masks[:, :2] = 255
    return torch.randn(2, 3, height, width, generator=generator), masks


@pytest.fixture
def data(tmp_path: Path) -> MaskData:
    """Training masks of which the first shows classes 0 and 1, the second only 2; 3 is nowhere."""
    masks = np.zeros((2, 4, 6), np.uint8)
    masks[0, 0] = 1
    masks[1] = 2
    masks[1, 3] = 255
    for part in ("train", "val"):
        for i, mask in enumerate(masks):
            for folder, pixels in (("images", np.zeros((4, 6, 3), np.uint8)), ("masks", mask)):
                path = tmp_path / folder / part / f"{i}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(pixels).save(path)
    return open_mask_folder(tmp_path, Masks(classes=("a", "b", "c", "d")), None)


def test_a_model_with_logits_for_each_pixel_is_taken() -> None:
    check_model(recipe(), model())


def test_a_classifier_is_refused() -> None:
    with pytest.raises(ConvsmithError, match="Tiny gives logits for each image, not for each pixel"):
        check_model(recipe(), tiny())


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("loss.class_weights=[1, 2, 3]", "loss.class_weights lists 3 weights, but there are 4 classes"),
        ("loss.output_weights=[1]", "loss.output_weights lists 1 value, but the model has 2 outputs"),
        ("loss.align_corners=[true, true, false]", "loss.align_corners lists 3 values, but the model has 2 outputs"),
        (
            "preprocess.mirrored_classes=[[1, 2], [3, 4]]",
            r"preprocess.mirrored_classes has the pair \[3, 4\], but classes are 0 to 3",
        ),
    ],
)
def test_a_list_that_does_not_fit_the_model_is_refused(override: str, message: str) -> None:
    with pytest.raises(ConvsmithError, match=message):
        check_model(recipe(override, "augment.hflip=0.5"), model())


@pytest.mark.parametrize(
    "override",
    [
        "loss.class_weights=[1, 2, 3, 4]",
        "loss.output_weights=[0, 1]",
        "loss.align_corners=[true, false]",
        "preprocess.mirrored_classes=[[2, 3]]",
    ],
)
def test_a_list_that_fits_the_model_is_taken(override: str) -> None:
    check_model(recipe(override, "augment.hflip=0.5"), model())


def loss_of(recipe: Recipe, data: MaskData, used: list[int]) -> Tensor:
    student = model()
    return objective(recipe, student, data, np.array(used), CPU)(student, *batch(), 0)


def expected_loss(recipe: Recipe, weight: Tensor | None) -> Tensor:
    images, masks = batch()
    return make_segmentation_loss(recipe.loss, weight, align_corners=False)(model()(images), masks)


@pytest.mark.parametrize(
    "override", ["", "loss={name: ohem, min_kept: 50}", "loss={name: dice}", "loss.output_weights=[0.3, 2]"]
)
def test_the_loss_is_that_of_the_recipe(data: MaskData, override: str) -> None:
    wanted = recipe(*filter(None, [override]))
    torch.testing.assert_close(loss_of(wanted, data, [0, 1]), expected_loss(wanted, None))


def test_the_loss_is_upsampled_as_the_model_does_it(data: MaskData) -> None:
    class Aligned(TinySegmenter):
        align_corners = True

    torch.manual_seed(0)
    images, masks = batch()
    network, wanted = Aligned(CLASSES), recipe()
    expected = make_segmentation_loss(wanted.loss, None, align_corners=True)(network(images), masks)
    loss = objective(wanted, network, data, np.array([0, 1]), CPU)(network, images, masks, 0)
    torch.testing.assert_close(loss, expected)
    assert expected != loss_of(wanted, data, [0, 1])


def test_listed_class_weights_weigh_the_loss(data: MaskData) -> None:
    wanted = recipe("loss.class_weights=[1, 2, 0.5, 4]")
    torch.testing.assert_close(loss_of(wanted, data, [0, 1]), expected_loss(wanted, torch.tensor([1, 2, 0.5, 4])))


@pytest.mark.parametrize("rarity", ["inverse", "sqrt", "effective_number"])
@pytest.mark.parametrize(("used", "pixels"), [([0, 1], [18, 6, 18, 0]), ([1], [0, 0, 18, 0]), ([0, 0], [36, 12, 0, 0])])
def test_class_weights_come_from_the_pixels_of_the_masks_that_are_used(
    data: MaskData, rarity: str, used: list[int], pixels: list[int]
) -> None:
    wanted = recipe(f"loss.class_weights={rarity}")
    given = wanted.loss.class_weights
    assert isinstance(given, str)
    torch.testing.assert_close(loss_of(wanted, data, used), expected_loss(wanted, class_weights(given, pixels)))


def test_a_teacher_takes_its_share_of_the_loss(data: MaskData, monkeypatch: pytest.MonkeyPatch) -> None:
    images, masks = batch()
    teacher = torch.randn(2, CLASSES, 9, 14)
    monkeypatch.setattr("convsmith.tasks.segmentation.load_teacher", lambda *_: lambda _: teacher)
    wanted = recipe("distillation={teacher: {bundle: x}, alpha: 0.3}")
    assert wanted.distillation is not None
    distance = pixel_distance(wanted.distillation, model()(images)[-1], teacher, masks)
    torch.testing.assert_close(loss_of(wanted, data, [0]), 0.7 * expected_loss(wanted, None) + 0.3 * distance)


def test_the_loss_has_full_precision_under_autocast(data: MaskData) -> None:
    with torch.autocast("cpu", torch.bfloat16):
        assert loss_of(recipe(), data, [0]).dtype == torch.float32


def test_logits_have_the_size_of_the_images() -> None:
    images, _ = batch()
    network = model().eval()
    found = logits(network, images)
    assert found.shape == (2, CLASSES, 9, 14)
    torch.testing.assert_close(found, network.segment(images))


SPECS = [
    WholeImage(method="whole"),
    WholeImage(method="whole", scales=(0.5, 1.0, 1.5), flip=True, mirrored_classes=((1, 2),)),
    WholeImage(method="whole", base_size=20, align_corners=True),
]


@pytest.mark.parametrize("spec", SPECS)
def test_judged_masks_are_those_that_the_bundle_would_give(spec: WholeImage) -> None:
    random = np.random.RandomState(0)
    network = model().eval()

    @torch.inference_mode()
    def infer(images: NDArray[Any]) -> NDArray[np.float32]:
        return network.segment(torch.from_numpy(images) / 64 - 2).numpy()

    judged, expected = JudgedMasks(CLASSES, spec), SegmentationResults(CLASSES)
    for size in ((9, 14), (12, 7)):
        images = random.randint(0, 256, (2, 3, *size), np.uint8)
        masks = random.randint(0, CLASSES, (2, *size)).astype(np.uint8)
        masks[:, 0] = 255
        judged.judge(infer, torch.from_numpy(images), torch.from_numpy(masks))
        for image, mask in zip(images, masks, strict=True):
            answer = segment(image.transpose(1, 2, 0), spec, infer, CLASSES)
            expected.update(answer, mask)
    assert np.array_equal(judged.confusion, expected.confusion)
    assert judged.compute().items() >= expected.compute().items()


def test_a_new_collection_has_the_classes_of_the_data(data: MaskData) -> None:
    assert new_results(recipe(), len(data.classes)).confusion.shape == (4, 4)


@pytest.mark.parametrize("window", [None, Window(size=(6, 5)), Window(size=(4, 3))])
def test_the_validation_loss_is_the_cross_entropy_of_the_pixels_that_count(window: Window | None) -> None:
    random = np.random.RandomState(0)
    weight = torch.from_numpy(random.normal(0, 0.03, (CLASSES, 3)).astype(np.float32))

    def of_colours(images: NDArray[Any]) -> NDArray[np.float32]:
        return torch.einsum("kc,nchw->nkhw", weight, torch.from_numpy(images).float()).numpy()

    spec, judged = WholeImage(method="whole", window=window), []
    masks, images = random.randint(0, CLASSES, (2, 6, 5), np.uint8), random.randint(0, 256, (2, 3, 6, 5), np.uint8)
    masks[0, :2] = IGNORED
    for number in range(2):
        judged.append(JudgedMasks(CLASSES, spec))
        judged[-1].judge(of_colours, torch.from_numpy(images[[number]]), torch.from_numpy(masks[[number]]))
    judged[0].merge(judged[1])
    logits, targets = torch.from_numpy(of_colours(images)), torch.from_numpy(masks).long()
    expected = functional.cross_entropy(logits, targets, ignore_index=IGNORED)
    assert judged[0].compute()["loss"] == pytest.approx(expected.item(), rel=1e-5)


def test_the_validation_loss_of_logits_too_low_for_windows_is_that_of_chance() -> None:
    judged = JudgedMasks(CLASSES, WholeImage(method="whole", window=Window(size=(4, 3))))
    low = np.full((1, CLASSES, 4, 3), -200, np.float32)
    nothing = torch.zeros(1, 3, 6, 5, dtype=torch.uint8)
    judged.judge(lambda _images: low, nothing, nothing[:, 0])
    assert judged.compute()["loss"] == pytest.approx(np.log(CLASSES), rel=1e-5)
