"""Training for several labels: which loss a recipe makes of images, labels and a teacher."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from convsmith.data.folders.files import FilesBuilder
from convsmith.data.image_data import ImageData
from convsmith.data.index import Index
from convsmith.data.packed_labels import PackedLabels
from convsmith.errors import ConvsmithError
from convsmith.recipe.objective import Distillation
from convsmith.tasks.base import Objective
from convsmith.tasks.distillation import label_distance
from convsmith.tasks.mixing import draw_mix
from convsmith.tasks.multilabel import JudgedLabels, check_model, objective
from tests.data.folders import folder_of_classes
from tests.tasks.tiny import CLASSES, batch, recipe, tiny

CPU, MODEL = torch.device("cpu"), tiny()
IMAGES, _ = batch()
TARGETS = torch.tensor([[1, 0, 0, 1], [0, 1, 0, 0], [0, 0, 0, 0], [1, 1, 1, 0], [0, 0, 0, 1], [1, 0, 0, 0]]).byte()


def data() -> ImageData:
    """The labels of `TARGETS` as a data set; none of its images is on disk."""
    files = FilesBuilder(folder_of_classes([1]).root)
    for i in range(len(TARGETS)):
        files.add(b"%d.png" % i)
    rows, members = np.nonzero(TARGETS.numpy())
    labels = PackedLabels.pack(rows, members.astype(np.int32), (len(TARGETS), CLASSES))
    train = Index(files.build(), labels.hashes(), labels)
    return ImageData(folder_of_classes([1]).root, tuple("abcd"), train, train.select([]), ())


def made(*overrides: str, used: range = range(len(TARGETS))) -> Objective:
    return objective(recipe("task=multilabel", *overrides), MODEL, data(), np.array(used), CPU)


def loss_of(loss: Objective, seed: int = 0) -> float:
    torch.manual_seed(seed)
    return loss(MODEL, IMAGES, TARGETS, 0).item()


def entropy(x: Tensor, y: Tensor, positive: Tensor | None = None) -> float:
    return float(F.binary_cross_entropy_with_logits(x, y.float(), pos_weight=positive).detach())


def test_each_label_is_usually_a_binary_question() -> None:
    assert loss_of(made()) == pytest.approx(entropy(MODEL(IMAGES), TARGETS), rel=1e-6)


def test_weights_from_counts_are_images_without_a_label_by_those_with_it() -> None:
    counts = TARGETS.sum(0)
    expected = entropy(MODEL(IMAGES), TARGETS, (len(TARGETS) - counts) / counts)
    assert loss_of(made("loss={positive_weights: counts}")) == pytest.approx(expected, rel=1e-6)


def test_only_images_that_are_used_are_counted() -> None:
    """Of the first two, each class is on one or on none."""
    positive = torch.tensor([1.0, 1.0, 2.0, 1.0])
    expected = entropy(MODEL(IMAGES), TARGETS, positive)
    assert loss_of(made("loss={positive_weights: counts}", used=range(2))) == pytest.approx(expected, rel=1e-6)


def test_images_and_labels_are_mixed_alike() -> None:
    words = ("mixing={mixup_alpha: 0.8, cutmix_alpha: 1.0}",)
    mixing = recipe("task=multilabel", *words).mixing
    assert mixing is not None
    for seed in range(6):
        torch.manual_seed(seed)
        mix = draw_mix(mixing, IMAGES)
        assert mix is not None
        expected = entropy(MODEL(mix.images(IMAGES)), mix.labels(TARGETS.float()))
        assert loss_of(made(*words), seed) == pytest.approx(expected, rel=1e-6)


def test_weights_for_another_number_of_classes_are_refused() -> None:
    with pytest.raises(ConvsmithError, match=r"loss\.positive_weights lists 2 weights, but there are 4 classes"):
        check_model(recipe("task=multilabel", "loss={positive_weights: [1, 2]}"), MODEL)


def spec(**more: object) -> Distillation:
    return Distillation.model_validate({"teacher": {"model": "resnet18", "weights": "x.pth"}, **more})


def test_a_teacher_is_compared_label_by_label() -> None:
    student, teacher = torch.randn(5, 3).double(), torch.randn(5, 3).double()
    own, wanted = (
        torch.stack([x / 2, torch.zeros_like(x)], -1).log_softmax(-1)  # a question with two answers
        for x in (student, teacher)
    )
    expected = F.kl_div(own, wanted, reduction="sum", log_target=True) / student.numel() * 4
    assert float(label_distance(spec(), student, teacher)) == pytest.approx(float(expected))


def test_a_hard_teacher_says_yes_above_one_half() -> None:
    student, teacher = torch.randn(5, 3), torch.randn(5, 3)
    expected = F.binary_cross_entropy_with_logits(student, (teacher.sigmoid() > 0.5).float())
    assert float(label_distance(spec(kind="hard"), student, teacher)) == pytest.approx(float(expected))


def test_certain_teachers_and_students_are_a_finite_distance_apart() -> None:
    student, teacher = torch.tensor([[300.0, -300.0]]), torch.tensor([[-300.0, -300.0]])
    assert torch.isfinite(label_distance(spec(), student, teacher))


def test_the_figures_of_a_validation_are_those_at_the_thresholds_that_it_tunes() -> None:
    judged = JudgedLabels()
    judged.judge(lambda images: MODEL(torch.from_numpy(images).float()).detach().numpy(), IMAGES, TARGETS)
    figures = judged.compute()
    assert judged.tuned() == {"thresholds": judged.best_thresholds()}
    assert judged.by_class(CLASSES)["threshold"] == tuple(judged.best_thresholds())
    assert figures["f1_macro"] == pytest.approx(np.mean([it or 0 for it in judged.by_class(CLASSES)["f1"]]))
