from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import MagicMock

import pytest
import torch

import convsmith as cs
from convsmith.data.loading.loader import Batch
from convsmith.training.dry_evaluation import try_evaluation
from convsmith.training.evaluation import NotFinite
from convsmith.training.memory import OutOfMemory
from tests.tasks.tiny_segmenter import name_tiny_segmenter
from tests.training.conftest import SMALL
from tests.training.scenes import scenes_recipe, write_scenes


class Stopped(Exception):
    pass


@pytest.fixture(autouse=True)
def no_step(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a training end where its first step would begin."""

    def stop(*args: object) -> None:
        raise Stopped

    name_tiny_segmenter(monkeypatch)
    monkeypatch.setattr("convsmith.training.train.Trainer", stop)


def judged_before(recipe: cs.Recipe, data: Path, out: Path, monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, ...]]:
    """Shapes of the images that are judged before the first step."""
    shapes: list[tuple[int, ...]] = []

    def note(parts: Any, model: Any, batches: Iterable[Batch]) -> None:
        shapes.extend(tuple(batch.images.shape) for batch in batches)

    monkeypatch.setattr("convsmith.training.dry_evaluation.evaluate", note)
    with pytest.raises(Stopped):
        cs.train(recipe, data, out)
    return shapes


def refusal(error: Exception, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> cs.ConvsmithError:
    """What is said if judging raises an error."""

    def fail(*args: object) -> None:
        raise error

    monkeypatch.setattr("convsmith.training.dry_evaluation.evaluate", fail)
    with pytest.raises(cs.ConvsmithError) as caught:
        cs.train(scenes_recipe(tmp_path), data, tmp_path / "run")
    return caught.value


@pytest.fixture
def scenes(tmp_path: Path) -> Path:
    return write_scenes(tmp_path / "scenes")


def test_the_largest_and_the_smallest_image_are_judged(
    scenes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (_, _, *large), (_, _, *small) = judged_before(scenes_recipe(tmp_path), scenes, tmp_path / "run", monkeypatch)
    assert large[0] * large[1] > small[0] * small[1]


def test_judging_by_a_large_image_is_announced(
    scenes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "convsmith")
    monkeypatch.setattr("convsmith.training.dry_evaluation._LARGE", 24 * 24)
    shapes = judged_before(scenes_recipe(tmp_path), scenes, tmp_path / "run", monkeypatch)
    announced = [line for line in caplog.messages if line.startswith("trying to judge by the validation image")]
    assert len(announced) == sum(height * width > 24 * 24 for _, _, height, width in shapes) == 1


def test_images_of_one_size_are_judged_as_a_batch(
    digits: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = cs.load_recipe("digits", SMALL)
    assert judged_before(recipe, digits, tmp_path / "run", monkeypatch) == [(8, 3, 16, 16)]


def test_nothing_is_judged_where_nothing_will_be(digits: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = cs.load_recipe("digits", [*SMALL, "eval=false"])
    assert judged_before(recipe, digits, tmp_path / "run", monkeypatch) == []


def test_an_image_that_memory_has_no_room_for_is_named_with_the_key(
    scenes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    error = refusal(OutOfMemory(1, "no memory is left"), scenes, tmp_path, monkeypatch)
    assert f"{scenes}/images/val/" in error.what
    assert "preprocess.window" in error.fix


def test_an_image_that_the_model_cannot_take_is_named(
    scenes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    error = refusal(RuntimeError("Kernel size is too large\nat"), scenes, tmp_path, monkeypatch)
    assert f"{scenes}/images/val/" in error.what
    assert error.why == "Kernel size is too large"


def test_logits_that_are_not_finite_before_the_first_step_are_no_error(
    digits: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*args: object) -> None:
        raise NotFinite("conv1")

    monkeypatch.setattr("convsmith.training.dry_evaluation.evaluate", fail)
    with pytest.raises(Stopped):
        cs.train(cs.load_recipe("digits", SMALL), digits, tmp_path / "run")


@pytest.mark.parametrize(
    ("task", "size", "copies", "is_announced"),
    [
        ("classification", (8, 8), 3, False),
        ("segmentation", (2000, 2000), 1, False),
        ("segmentation", (2000, 2001), 1, True),
        ("segmentation", (1, 4_000_001), 1, True),
    ],
)
def test_an_image_is_judged_as_often_as_a_pass_has_room_and_announced_where_it_is_large(
    task: str,
    size: tuple[int, int],
    copies: int,
    is_announced: bool,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    shapes = list[tuple[int, ...]]()
    monkeypatch.setattr(
        "convsmith.training.dry_evaluation.evaluate",
        lambda _parts, _model, batches: shapes.extend(tuple(batch.images.shape) for batch in batches),
    )
    image = torch.zeros(1, 1, 1, dtype=torch.uint8).expand(3, *size)
    val = SimpleNamespace(name=lambda number: f"{number}.png")
    dataset = MagicMock(val=MagicMock(wraps=val, __len__=lambda _: 9))
    dataset.validation_reader.return_value = lambda _: (image, torch.zeros(()))
    recipe = SimpleNamespace(task=task, preprocess=None)
    session = SimpleNamespace(recipe=recipe, dataset=dataset, plan=SimpleNamespace(per_device_batch=3))
    with caplog.at_level("INFO"):
        try_evaluation(session, SimpleNamespace(model=None), [5, 7])  # type: ignore[arg-type]
    assert shapes == [(copies, 3, *size)] * (1 if task == "classification" else 2)
    assert bool(caplog.messages) is is_announced
