"""A section that does nothing for a recipe's task, or cannot be had with it, is refused by name."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from convsmith.recipe.load import load_recipe
from convsmith.recipe.make_plan import make_plan
from tests.recipe.examples import MASKS, WHOLE, error_of, write


@pytest.fixture
def masks(tmp_path: Path) -> Path:
    """A recipe for segmentation, as short as one can be."""
    return write(tmp_path, masks=MASKS)


@pytest.fixture
def classes(tmp_path: Path) -> Path:
    """A recipe for classification."""
    return write(tmp_path, classes=WHOLE)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("preprocess={method: warp, resize: 32, crop: 32}", "so preprocess.method is `whole`"),
        ("metric=top1", "is judged by metric `miou`, `mean_accuracy`, `pixel_accuracy` or `loss`, not by `top1`"),
        ("metric=balanced_accuracy", "not by `balanced_accuracy`"),
        ("loss={name: binary_cross_entropy}", "loss.name `binary_cross_entropy` is of images, not of pixels"),
        ("augment.policy={name: trivial_augment}", "augment.policy changes images alone"),
        ("augment.random_erasing={probability: 0.5}", "augment.random_erasing changes images alone"),
        ("augment={efficientnet_crop: {size: 32}, random_crop: null}", "augment.efficientnet_crop changes images"),
        ("mixing={mixup_alpha: 0.2}", "`mixing` is for classification, but task is segmentation: set mixing=null"),
        (
            "distillation={teacher: {model: hrnet_w18_seg, weights: x.pth}, kind: features}",
            "distillation.kind `features` compares whole images",
        ),
        ("sampling={name: balanced}", "sampling.name `balanced` needs one class for each image"),
    ],
)
def test_segmentation_refuses_what_is_of_whole_images(masks: Path, override: str, message: str) -> None:
    assert message in error_of(masks, [override])


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("preprocess={method: whole}", "preprocess.method `whole` is for segmentation, but task is classification"),
        ("metric=miou", "is judged by metric `top1`, `balanced_accuracy` or `loss`, not by `miou`"),
        ("loss={name: ohem}", "loss.name `ohem` is of pixels, but task is classification"),
        ("loss={name: dice}", "loss.name `dice` is of pixels"),
        ("loss={name: lovasz}", "loss.name `lovasz` is of pixels"),
        ("loss.output_weights=[0.4, 1]", "loss.output_weights is for segmentation"),
        ("loss.align_corners=true", "loss.align_corners is for segmentation"),
        ("data.masks={}", "data.masks is for segmentation, but task is classification"),
        ("augment.mask_downsample_rate=0.5", "augment.mask_downsample_rate is for segmentation"),
    ],
)
def test_classification_refuses_what_is_of_pixels(classes: Path, override: str, message: str) -> None:
    assert message in error_of(classes, [override])


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("preprocess={method: whole}", "preprocess.method `whole` is for segmentation, but task is multilabel"),
        ("metric=top1", "is judged by metric `map_macro`, `map_micro`, `f1_macro`, `f1_micro`, `subset_accuracy` or"),
        ("loss={name: cross_entropy}", "loss.name `cross_entropy` lets an image have one class"),
        ("loss={name: dice}", "loss.name `dice` is of pixels, but task is multilabel"),
        ("data.masks={}", "data.masks is for segmentation, but task is multilabel"),
        (
            "sampling={name: balanced}",
            "sampling.name `balanced` needs one class for each image, but task is multilabel",
        ),
    ],
)
def test_several_labels_refuse_what_is_of_pixels_or_of_one_class(classes: Path, override: str, message: str) -> None:
    assert message in error_of(classes, ["task=multilabel", override])


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("loss={name: asymmetric}", "loss.name `asymmetric` is of several labels, but task is classification"),
        ("loss={name: focal, positive_weights: counts}", "loss.positive_weights is for several labels"),
    ],
)
def test_one_class_refuses_what_is_of_several_labels(classes: Path, override: str, message: str) -> None:
    assert message in error_of(classes, [override])


def test_the_task_alone_makes_a_recipe_of_classes_one_of_labels(classes: Path) -> None:
    recipe = load_recipe(classes, ["task=multilabel"])
    assert (recipe.loss.name, recipe.metric) == ("binary_cross_entropy", "map_macro")


@pytest.mark.parametrize("loss", ["binary_cross_entropy", "focal", "asymmetric"])
def test_several_labels_take_every_loss_of_labels(classes: Path, loss: str) -> None:
    recipe = load_recipe(classes, ["task=multilabel", f"loss={{name: {loss}, positive_weights: counts}}"])
    assert recipe.loss.name == loss


@pytest.mark.parametrize("name", ["auroc", "ece", "top5", "loss", "top1"])
def test_a_validation_may_measure_what_an_evaluation_does(classes: Path, name: str) -> None:
    assert load_recipe(classes, [f"metrics=[{name}]"]).metrics == (name,)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["metrics=[f1_marco]"], "f1_macro"),
        (["metrics=[dice]"], "a validation of classification (task) measures `top1`, `balanced_accuracy`, `top3`"),
        (["metrics=[dice]"], "not `dice`"),
        (["metrics=[ece]", "eval=false"], "metrics are figures of each validation, but `eval` is false"),
    ],
)
def test_a_figure_that_cannot_be_measured_is_refused(classes: Path, words: list[str], message: str) -> None:
    assert message in error_of(classes, words)


def test_a_metric_of_the_other_task_is_named_with_its_place(masks: Path, classes: Path) -> None:
    assert re.match(
        r"command line and \S+\.yaml:\d+: segmentation \(task\) is judged", error_of(masks, ["metric=top1"])
    )
    assert re.match(r"command line and \S+\.yaml: classification \(task\) is", error_of(classes, ["metric=miou"]))


@pytest.mark.parametrize("loss", ["cross_entropy", "focal", "ohem", "dice", "lovasz"])
def test_segmentation_takes_every_loss_of_pixels(masks: Path, loss: str) -> None:
    assert load_recipe(masks, [f"loss={{name: {loss}}}"]).loss.name == loss


def test_segmentation_is_usually_judged_by_miou(masks: Path) -> None:
    assert load_recipe(masks).metric == "miou"


@pytest.mark.parametrize("metric", ["mean_accuracy", "pixel_accuracy", "loss"])
def test_segmentation_may_be_judged_by_another_figure(masks: Path, metric: str) -> None:
    assert load_recipe(masks, [f"metric={metric}"]).metric == metric


def test_classification_is_usually_judged_by_top1(classes: Path) -> None:
    assert load_recipe(classes).metric == "top1"


def test_a_typical_input_of_segmentation_is_what_training_sees(masks: Path) -> None:
    assert load_recipe(masks, ["augment={random_scale_crop: {size: [24, 40]}, random_crop: null}"]).input_size == (
        24,
        40,
    )


EXTRA = ("schedule.epochs=2", "schedule.extra={epochs: 3, lr: 0.01}", "batch.size=4", "optimizer.lr=0.1")


def test_an_extra_phase_has_epochs_of_its_own_length(masks: Path) -> None:
    plan = make_plan(load_recipe(masks, EXTRA), 20, extra_samples=30)
    assert plan.extra == {"num_samples": 30, "steps_per_epoch": 8, "first_epoch": 2}
    assert (plan.steps_per_epoch, plan.total_epochs, plan.total_steps) == (5, 5, 2 * 5 + 3 * 8)


def test_an_extra_phase_begins_at_its_own_learning_rate_and_falls_again(masks: Path) -> None:
    plan = make_plan(load_recipe(masks, EXTRA), 20, extra_samples=30)
    assert len(plan.lr) == plan.total_steps
    assert (plan.lr[0], plan.lr[10]) == (0.1, 0.01)
    assert list(plan.lr[10:]) == sorted(plan.lr[10:], reverse=True)


def test_an_extra_phase_without_samples_of_its_own_has_those_of_training(masks: Path) -> None:
    assert make_plan(load_recipe(masks, EXTRA), 20).extra == {"num_samples": 20, "steps_per_epoch": 5, "first_epoch": 2}
