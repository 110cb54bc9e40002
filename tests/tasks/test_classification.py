from __future__ import annotations

import json
import math
import tracemalloc
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional as F
from torchmetrics.functional.classification import (
    multiclass_accuracy,
    multiclass_confusion_matrix,
    multiclass_recall,
)

from convsmith.bundle.figures.classification_metrics import ClassificationResults
from convsmith.errors import ConvsmithError
from convsmith.models.registry import create_model
from convsmith.recipe.load import load_recipe
from convsmith.recipe.mixing import Mixing
from convsmith.tasks.base import Objective
from convsmith.tasks.classification import check_model, objective
from convsmith.tasks.distillation import divergence
from convsmith.tasks.losses import class_weights
from convsmith.tasks.mixing import draw_mix
from tests.data.folders import folder_of_classes
from tests.tasks.tiny import CLASSES, batch, recipe, tiny

CPU, MODEL = torch.device("cpu"), tiny()
IMAGES, TARGETS = batch()


def results(
    seed: int, count: int, classes: int, batch: int
) -> tuple[ClassificationResults, torch.Tensor, torch.Tensor]:
    random = np.random.RandomState(seed)
    logits = random.standard_normal((count, classes)).astype(np.float32)
    targets = random.randint(0, classes, count).astype(np.int64)
    gathered = ClassificationResults()
    for first in range(0, count, batch):
        gathered.update(logits[first : first + batch], targets[first : first + batch])
    return gathered, torch.from_numpy(logits), torch.from_numpy(targets)


@given(seed=st.integers(0, 2**31), count=st.integers(1, 60), classes=st.integers(6, 20), batch=st.integers(1, 60))
def test_the_figures_are_those_of_torchmetrics_and_torch(seed: int, count: int, classes: int, batch: int) -> None:
    gathered, logits, targets = results(seed, count, classes, batch)
    figures = gathered.compute()
    for name, k in (("top1", 1), ("top5", 5)):
        expected = multiclass_accuracy(logits, targets, classes, average="micro", top_k=k)
        assert figures[name] == pytest.approx(expected.item())
    assert figures["loss"] == pytest.approx(torch.nn.functional.cross_entropy(logits, targets).item(), rel=1e-5)
    confusion = multiclass_confusion_matrix(logits, targets, classes)
    assert np.array_equal(gathered.confusion_matrix(classes), confusion.numpy())


def test_without_any_image_the_figures_are_not_numbers() -> None:
    assert all(math.isnan(value) for value in ClassificationResults().compute().values())


def test_of_equal_logits_the_lower_class_counts_as_higher() -> None:
    gathered = ClassificationResults()
    gathered.update(np.zeros((2, 8), np.float32), np.array([0, 5]))
    assert gathered.compute()["top1"] == 0.5
    assert gathered.compute()["top5"] == 0.5


def test_what_is_kept_of_a_batch_does_not_grow_with_the_classes() -> None:
    gathered, logits = ClassificationResults(), np.random.RandomState(0).randn(64, 2000).astype(np.float32)
    tracemalloc.start()
    try:
        for _ in range(10):
            gathered.update(logits.copy(), np.zeros((64, 100), np.int64)[:, 0])
        kept, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert kept < 10 * 64 * 100  # bytes; one view alone would keep 64 x 2000 numbers


def test_balanced_accuracy_is_the_mean_recall_of_the_classes_that_have_images() -> None:
    gathered, logits, targets = results(0, 50, 8, 7)
    targets[targets == 3] = 5
    gathered = ClassificationResults()
    gathered.update(logits.numpy(), targets.numpy())
    recalls = multiclass_recall(logits, targets, 8, average="none")
    expected = recalls[[0, 1, 2, 4, 5, 6, 7]].mean().item()
    assert gathered.compute()["balanced_accuracy"] == pytest.approx(expected)


def test_balanced_accuracy_is_not_won_by_the_largest_class() -> None:
    gathered = ClassificationResults()
    gathered.update(np.tile(np.array([1, 0], np.float32), (10, 1)), np.array([0] * 9 + [1]))
    assert gathered.compute()["top1"] == 0.9
    assert gathered.compute()["balanced_accuracy"] == 0.5


def made(*overrides: str, counts: Sequence[int] = (5,) * CLASSES) -> Objective:
    folder = folder_of_classes(counts)
    return objective(recipe(*overrides), MODEL, folder, np.arange(len(folder.train)), CPU)


def loss_of(objective: Objective, epoch: int = 0, seed: int = 0) -> float:
    torch.manual_seed(seed)
    return objective(MODEL, IMAGES, TARGETS, epoch).item()


def test_label_smoothing_spreads_its_share_over_all_classes() -> None:
    loss = made("loss.label_smoothing=0.2")
    expected = F.cross_entropy(MODEL(IMAGES), TARGETS, label_smoothing=0.2)
    assert loss_of(loss) == pytest.approx(expected.item(), rel=1e-6)


def test_images_and_labels_are_mixed_alike() -> None:
    mixing = Mixing(mixup_alpha=0.8, cutmix_alpha=1.0, partner="reversed")
    loss = made(f"mixing={mixing.model_dump_json()}", "loss.label_smoothing=0.1")
    for seed in range(5):
        torch.manual_seed(seed)
        mix = draw_mix(mixing, IMAGES)
        assert mix is not None
        one_hot = F.one_hot(TARGETS, CLASSES).float()
        expected = F.cross_entropy(MODEL(mix.images(IMAGES)), mix.labels(one_hot), label_smoothing=0.1)
        assert loss_of(loss, seed=seed) == pytest.approx(expected.item(), rel=1e-5)


@pytest.mark.parametrize("extra", [[], ["schedule.extra={epochs: 2, lr: 0.01}"]])
def test_the_last_epochs_are_not_mixed(extra: list[str]) -> None:
    loss = made("mixing={mixup_alpha: 1.0, off_epochs: 3}", "schedule.epochs=12", *extra)
    plain = F.cross_entropy(MODEL(IMAGES), TARGETS).item()
    unmixed = [epoch for epoch in range(14) if loss_of(loss, epoch) == pytest.approx(plain)]
    first = 11 if extra else 9
    assert unmixed == list(range(first, 14))


@pytest.mark.parametrize("kind", ["inverse", "sqrt", "effective_number"])
def test_weights_of_classes_come_from_their_images(kind: Any) -> None:
    counts = [100, 20, 5, 1]
    loss = made(f"loss.class_weights={kind}", counts=counts)
    expected = F.cross_entropy(MODEL(IMAGES), TARGETS, class_weights(kind, counts))
    assert loss_of(loss) == pytest.approx(expected.item())


def test_weights_of_classes_may_be_listed() -> None:
    loss = made("loss.class_weights=[1, 2, 3, 4]")
    expected = F.cross_entropy(MODEL(IMAGES), TARGETS, torch.tensor([1.0, 2.0, 3.0, 4.0]))
    assert loss_of(loss) == pytest.approx(expected.item())


def test_a_list_of_weights_for_other_classes_is_refused() -> None:
    with pytest.raises(ConvsmithError, match="lists 3 weights, but there are 4 classes"):
        check_model(recipe("loss.class_weights=[1, 2, 3]"), MODEL)


def test_a_model_of_pixels_is_refused() -> None:
    with torch.device("meta"):
        model = create_model("hrnet_w18_seg")
    with pytest.raises(ConvsmithError, match="gives logits for each pixel"):
        check_model(recipe(), model)


@pytest.mark.parametrize("alpha", [0.0, 0.3, 1.0])
def test_the_teacher_sees_the_mixed_images_and_has_its_share(tmp_path: Path, alpha: float) -> None:
    teacher = create_model("cifar_resnet20", CLASSES).eval()
    torch.save(teacher.state_dict(), tmp_path / "teacher.pth")
    source = {"model": "cifar_resnet20", "weights": str(tmp_path / "teacher.pth")}
    mixing = Mixing(mixup_alpha=1.0)
    distilled = json.dumps({"teacher": source, "alpha": alpha, "temperature": 3.0})
    loss = made(f"distillation={distilled}", f"mixing={mixing.model_dump_json()}")
    torch.manual_seed(0)
    mix = draw_mix(mixing, IMAGES)
    assert mix is not None
    images, labels = mix.images(IMAGES), mix.labels(F.one_hot(TARGETS, CLASSES).float())
    expected = (1 - alpha) * F.cross_entropy(MODEL(images), labels) + alpha * divergence(
        MODEL(images), teacher(images), 3.0
    )
    assert loss_of(loss) == pytest.approx(expected.item(), rel=5e-3)  # the teacher computes in bfloat16


@pytest.mark.parametrize("name", ["cross_entropy", "focal", "binary_cross_entropy"])
def test_the_loss_is_in_float32_whatever_the_model_computes_in(name: str) -> None:
    given = [f"loss.name={name}", "loss.class_weights=inverse", "mixing={mixup_alpha: 1.0, cutmix_alpha: 1.0}"]
    objective = made(*given, counts=[3, 2, 2, 1])
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = objective(MODEL, IMAGES, TARGETS, 0)
    assert loss.dtype == torch.float32
    assert loss.isfinite()


@pytest.mark.parametrize("name", ["top1", "balanced_accuracy"])
def test_the_recipe_names_the_figure_that_chooses_the_best_epoch(name: str) -> None:
    results = ClassificationResults()
    results.update(np.eye(CLASSES, dtype=np.float32), np.arange(CLASSES))
    assert recipe(f"metric={name}").metric in results.compute()


def test_rare_classes_count_in_the_choice_of_the_packaged_recipe_for_them() -> None:
    assert load_recipe("imbalanced").metric == "balanced_accuracy"
