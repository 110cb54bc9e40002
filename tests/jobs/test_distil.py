from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import convsmith as cs
from convsmith.cli.main import main
from convsmith.jobs.distil import distil, student_recipe
from convsmith.recipe.schema import Recipe
from tests.colours import write_colour_bundle
from tests.tasks.tiny_segmenter import name_tiny_segmenter
from tests.training.conftest import SMALL
from tests.training.scenes import scenes_recipe, write_scenes


@pytest.fixture(scope="module")
def recipe() -> Recipe:
    """What a teacher was trained with: tricks that are not for its student."""
    tricks = ("mixing={mixup_alpha: 0.2}", "loss.label_smoothing=0.1", "model.name=resnet18", "batch.size=1024")
    return cs.load_recipe("digits", [*tricks, "sampling.fraction=0.5", "augment.random_crop.padding=2"])


@pytest.fixture
def teacher(recipe: Recipe, tmp_path: Path) -> Path:
    return write_colour_bundle(tmp_path / "teacher", recipe=recipe.model_dump(mode="json"))


def test_a_student_sees_its_teachers_images_and_none_of_its_tricks(teacher: Path, recipe: Recipe) -> None:
    student = student_recipe(teacher, "mobilenet_v2")
    assert student.model.name == "mobilenet_v2"
    assert (student.augment, student.preprocess, student.sampling) == (
        recipe.augment,
        recipe.preprocess,
        recipe.sampling,
    )
    assert (student.batch.size, student.schedule.epochs) == (1024, recipe.schedule.epochs)
    assert student.mixing is None
    assert student.loss == cs.load_recipe("digits").loss
    assert (student.optimizer.lr, student.clip_grad_norm) == (0.4, 5.0)
    assert student.distillation is not None
    assert student.distillation.teacher.bundle == str(teacher)
    assert "resnet18" in student.description


def test_the_student_of_a_teacher_without_epochs_needs_some(tmp_path: Path) -> None:
    values = cs.load_recipe("digits", ["schedule.epochs=0"]).model_dump(mode="json")
    teacher = write_colour_bundle(tmp_path / "teacher", recipe=values)
    with pytest.raises(cs.ConvsmithError, match="the student has no number of epochs"):
        student_recipe(teacher, "mobilenet_v2")
    assert student_recipe(teacher, "mobilenet_v2", ["schedule.epochs=3"]).schedule.epochs == 3


@pytest.mark.parametrize(("epochs", "warmup"), [(9, 0), (30, 3), (50, 5), (300, 5)])
def test_a_student_warms_up_for_a_tenth_of_its_epochs_and_for_five_at_most(
    tmp_path: Path, epochs: int, warmup: int
) -> None:
    values = cs.load_recipe("digits", [f"schedule.epochs={epochs}"]).model_dump(mode="json")
    student = student_recipe(write_colour_bundle(tmp_path / "teacher", recipe=values), "mobilenet_v2")
    assert student.schedule.model_dump()["warmup_epochs"] == warmup


def test_words_change_the_students_recipe(teacher: Path) -> None:
    student = student_recipe(teacher, "mobilenet_v2", ["schedule.epochs=77", "distillation.alpha=0.5"])
    assert student.schedule.epochs == 77
    assert student.distillation is not None
    assert (student.distillation.alpha, student.distillation.temperature) == (0.5, 4.0)
    with pytest.raises(cs.ConvsmithError, match=r"did you mean `schedule\.epochs`"):
        student_recipe(teacher, "mobilenet_v2", ["schedule.epoch=77"])


def test_a_run_for_segmentation_teaches_pixels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name_tiny_segmenter(monkeypatch)
    monkeypatch.setattr("convsmith.deploy.speed._SECONDS", 0.0)
    data = write_scenes(tmp_path / "data")
    teacher = cs.train(scenes_recipe(tmp_path, "schedule.epochs=1"), data, tmp_path / "teacher")
    words = ["optimizer.lr=0.1", "schedule.epochs=1", "ema=null"]
    result = distil(teacher.path, "tiny_segmenter", data, tmp_path / "student", words, max_drop=100)
    assert list(result.forms) == ["teacher", "student", "student INT8"]
    assert result.metric == "miou"
    assert all("miou" in form.metrics for form in result.forms.values())
    assert cs.load(tmp_path / "student" / "bundle-int8").manifest.task == "segmentation"


@pytest.mark.slow
def test_the_teacher_is_what_a_student_of_pixels_learns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All masks are wiped out, and with `alpha` 1 nothing but the teacher is left."""
    name_tiny_segmenter(monkeypatch)
    data = write_scenes(tmp_path / "data")
    recipe = scenes_recipe(tmp_path, "schedule.epochs=16", "data.masks.unseen_classes=allow")
    teacher = cs.train(recipe, data, tmp_path / "teacher")
    for mask in (data / "masks" / "train").iterdir():
        pixels = np.array(Image.open(mask))
        Image.fromarray(np.where(pixels == 255, pixels, 0).astype(np.uint8)).save(mask)
    words = ["optimizer.lr=0.1", "schedule.epochs=16", "ema=null", "distillation.alpha=1.0"]
    student = cs.train(student_recipe(teacher.path, "tiny_segmenter", words), data, tmp_path / "student")
    assert cs.evaluate(student.bundle, data).miou > 0.5


def test_a_bundle_of_a_recipe_that_is_none_is_said(tmp_path: Path) -> None:
    with pytest.raises(cs.ConvsmithError, match="cannot be read: `source` is missing"):
        student_recipe(write_colour_bundle(tmp_path / "bundle"), "mobilenet_v2")


def test_a_folder_in_the_way_is_said_before_the_training(teacher: Path, tmp_path: Path) -> None:
    (tmp_path / "student" / "bundle-int8").mkdir(parents=True)
    (tmp_path / "student" / "bundle-int8" / "notes.txt").touch()
    with pytest.raises(cs.ConvsmithError, match="holds something else than an export"):
        distil(teacher, "mobilenet_v2", tmp_path / "no data", tmp_path / "student")


def test_renamed_classes_are_said_before_the_training(teacher: Path, digits: Path, tmp_path: Path) -> None:
    with pytest.raises(cs.ConvsmithError, match="has other classes than the bundle"):
        distil(teacher, "mobilenet_v2", digits, tmp_path / "student")
    assert not (tmp_path / "student").exists()


@pytest.mark.parametrize("word", ["preprocess.crop=8", "data.val_fraction=0.2"])
def test_what_chooses_the_images_of_the_table_must_stay(teacher: Path, word: str) -> None:
    with pytest.raises(cs.ConvsmithError, match=rf"{word.partition('=')[0]} must stay as"):
        student_recipe(teacher, "mobilenet_v2", [word])


def test_a_teacher_in_another_format_is_said_before_the_training(recipe: Recipe, digits: Path, tmp_path: Path) -> None:
    files = {"model.xml": b"", "model.bin": b""}
    values = recipe.model_dump(mode="json")
    teacher = write_colour_bundle(tmp_path / "teacher", files, format="openvino", recipe=values)
    with pytest.raises(cs.ConvsmithError, match="holds no ONNX model: its format is openvino"):
        distil(teacher, "mobilenet_v2", digits, tmp_path / "student")


@pytest.mark.slow
def test_teacher_student_and_int8_are_measured_together(
    digits: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    teacher = cs.train(cs.load_recipe("digits", SMALL), digits, tmp_path / "teacher")
    words = ["distil", str(teacher.path), "--student", "mobilenet_v2", "--data", str(digits), "--max-drop", "100"]
    with pytest.raises(SystemExit) as ended:
        main([*words, "--out", str(tmp_path / "student"), "--json", "optimizer.lr=0.001"])
    assert ended.value.code in (0, None)
    values = json.loads(capsys.readouterr().out)
    assert list(values["forms"]) == ["teacher", "student", "student INT8"]
    assert all(form["latency_ms"] > 0 and "top1" in form["metrics"] for form in values["forms"].values())
    assert values["forms"]["student INT8"]["bytes"] < 0.4 * values["forms"]["student"]["bytes"]
    assert cs.load(tmp_path / "student" / "bundle-int8").manifest.model["quantization"]["method"] == "static"
    learned = cs.load_recipe(tmp_path / "student" / "recipe.yaml").distillation
    assert learned is not None
    assert learned.teacher.model == "cifar_resnet20"  # a run's own weights teach, not its bundle
