from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from convsmith.errors import ConvsmithError
from convsmith.jobs.export import export
from convsmith.models.registry import create_model
from convsmith.recipe.load import load_recipe
from convsmith.recipe.objective import Teacher
from convsmith.recipe.schema import Recipe
from convsmith.storage import sha256_of
from convsmith.tasks import teacher as teacher_module
from convsmith.tasks.teacher import load_teacher, teacher_digest
from tests.colours import LABELS, colour_model, write_colour_bundle
from tests.stripes import write_stripes
from tests.tasks.tiny import CLASSES, recipe
from tests.tasks.tiny_segmenter import TinySegmenter, name_tiny_segmenter

CPU = torch.device("cpu")
NAMES = ("a", "b", "c", "d")  # of the student's classes
OTHER = ["preprocess.mean=[0.5,0.4,0.3]", "preprocess.std=[0.2,0.3,0.5]"]
OTHER_MEAN, OTHER_STD = torch.tensor([0.5, 0.4, 0.3]).view(3, 1, 1), torch.tensor([0.2, 0.3, 0.5]).view(3, 1, 1)


@pytest.fixture
def in_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", dict)


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    """Weights of a cifar_resnet20 for the student's classes."""
    torch.manual_seed(0)
    torch.save(create_model("cifar_resnet20", CLASSES).state_dict(), tmp_path / "teacher.pth")
    return tmp_path / "teacher.pth"


def taught_by(source: dict[str, Any], *overrides: str) -> Recipe:
    return recipe(f"distillation={json.dumps({'teacher': source})}", *overrides)


def zoo(checkpoint: Path) -> dict[str, Any]:
    return {"model": "cifar_resnet20", "weights": str(checkpoint)}


def pixels(side: int = 32, count: int = 3) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (count, 3, side, side), dtype=torch.uint8, generator=generator)


@pytest.mark.usefixtures("in_float32")
@pytest.mark.parametrize("kind", ["logits", "hard", "features"])
def test_a_model_with_a_file_sees_what_the_student_sees(checkpoint: Path, kind: str) -> None:
    images = torch.randn(4, 3, 32, 32)
    given = taught_by(zoo(checkpoint), f"distillation.kind={kind}")
    model = create_model("cifar_resnet20", CLASSES, checkpoint).eval()
    expected = model.forward_features(images) if kind == "features" else model(images)
    torch.testing.assert_close(load_teacher(given, CPU, NAMES)(images), expected, rtol=1e-4, atol=1e-5)


def test_a_teacher_does_not_learn(checkpoint: Path) -> None:
    images = torch.randn(4, 3, 32, 32, requires_grad=True)
    answers = load_teacher(taught_by(zoo(checkpoint)), CPU, NAMES)(images)
    assert not answers.requires_grad
    assert not answers.is_inference()  # it may be saved for a backward pass
    assert torch.equal(answers, load_teacher(taught_by(zoo(checkpoint)), CPU, NAMES)(images))  # nothing is random


@pytest.mark.parametrize("native", [True, False])
def test_a_teacher_computes_in_bfloat16_where_the_device_does_so_natively(
    checkpoint: Path, native: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": native})
    answers = load_teacher(taught_by(zoo(checkpoint)), CPU, NAMES)(torch.randn(2, 3, 32, 32))
    assert answers.dtype == (torch.bfloat16 if native else torch.float32)


@pytest.mark.usefixtures("in_float32")
def test_published_weights_have_their_own_normalisation(
    test_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CONVSMITH_CACHE", str(tmp_path))
    (tmp_path / "weights").mkdir()
    shutil.copy(test_data / "data" / "cifar_resnet20.th", tmp_path / "weights" / "resnet20-12fca82f.th")
    given = taught_by({"model": "cifar_resnet20", "weights": "cifar_resnet20.akamaster"}, *OTHER)
    images = pixels() / 255
    mean, std = torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1), torch.tensor([0.229, 0.224, 0.225]).view(3, 1, 1)
    model = create_model("cifar_resnet20", weights="cifar_resnet20.akamaster").eval()
    answers = load_teacher(given, CPU, tuple("abcdefghij"))((images - OTHER_MEAN) / OTHER_STD)
    torch.testing.assert_close(answers, model((images - mean) / std), rtol=1e-4, atol=1e-4)


@pytest.mark.usefixtures("in_float32")
def test_timms_own_weights_have_the_normalisation_that_timm_names(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("timm")
    model = create_model("timm/test_resnet", CLASSES).eval()  # normalised with 0.5
    monkeypatch.setattr(teacher_module, "create_trained_model", lambda *_, **__: model)  # needs no download
    given = taught_by({"model": "timm/test_resnet", "weights": "pretrained"}, *OTHER)
    images = pixels() / 255
    answers = load_teacher(given, CPU, NAMES)((images - OTHER_MEAN) / OTHER_STD)
    torch.testing.assert_close(answers, model((images - 0.5) / 0.5), rtol=1e-4, atol=1e-5)


@pytest.mark.usefixtures("in_float32")
def test_a_torchvision_model_teaches_from_a_file(tmp_path: Path) -> None:
    theirs = create_model("torchvision/shufflenet_v2_x0_5", CLASSES).eval()
    torch.save(theirs.state_dict(), tmp_path / "theirs.pth")
    given = taught_by({"model": "torchvision/shufflenet_v2_x0_5", "weights": str(tmp_path / "theirs.pth")})
    images = torch.randn(2, 3, 64, 64)
    torch.testing.assert_close(load_teacher(given, CPU, NAMES)(images), theirs(images), rtol=1e-4, atol=1e-5)


def colour_teacher(folder: Path, *overrides: str) -> Callable[[Tensor], Tensor]:
    given = taught_by({"bundle": str(folder)}, "augment.random_crop.size=8", *overrides)
    return load_teacher(given, CPU, LABELS)


def test_a_bundle_gets_the_pixels_back(colour_bundle: Path) -> None:
    images = pixels(8).contiguous(memory_format=torch.channels_last)
    answers = colour_teacher(colour_bundle, *OTHER)((images / 255 - OTHER_MEAN) / OTHER_STD)
    torch.testing.assert_close(answers, images.float().mean((2, 3)) / 10)


def test_the_logits_of_a_bundle_follow_the_names_of_the_students_classes(colour_bundle: Path) -> None:
    given = taught_by({"bundle": str(colour_bundle)}, "augment.random_crop.size=8")
    images = torch.rand(2, 3, 8, 8)
    answers = load_teacher(given, CPU, LABELS)(images)
    assert torch.equal(load_teacher(given, CPU, LABELS[::-1])(images), answers.flip(1))


@pytest.mark.usefixtures("in_float32")
def test_so_do_those_of_a_runs_weights(tmp_path: Path) -> None:
    place = write_checkpoint(tmp_path / "step-00000001", NAMES)
    images = torch.randn(2, 3, 32, 32)
    answers = load_teacher(taught_by(zoo(place)), CPU, NAMES)(images)
    moved = load_teacher(taught_by(zoo(place)), CPU, NAMES[::-1])(images)
    torch.testing.assert_close(moved, answers.flip(1))


def test_a_run_of_other_classes_is_no_teacher(tmp_path: Path) -> None:
    place = write_checkpoint(tmp_path / "step-00000001", ("m", "a", "z", "k"))
    with pytest.raises(ConvsmithError, match=r"gives no head for the classes a, b, c, \.\.\.: its own is for m, a, z"):
        load_teacher(taught_by(zoo(place)), CPU, NAMES)


def write_checkpoint(step: Path, classes: Sequence[str]) -> Path:
    """What is needed of one of a run's."""
    step.mkdir()
    torch.manual_seed(0)
    save_file(create_model("cifar_resnet20", len(classes)).state_dict(), step / "model.safetensors")
    (step / "state.json").write_text(json.dumps({"classes": classes}))
    return step / "model.safetensors"


def scenes_taught_by(source: dict[str, Any], *overrides: str) -> Recipe:
    return load_recipe("digit-scenes", [f"distillation={json.dumps({'teacher': source})}", *overrides])


def test_a_bundle_for_segmentation_teaches_images_of_any_size(pixel_bundle: Path) -> None:
    given = scenes_taught_by({"bundle": str(pixel_bundle)}, *OTHER)
    images = torch.randint(0, 256, (2, 3, 7, 9), generator=torch.Generator().manual_seed(0))
    answers = load_teacher(given, CPU, LABELS)((images / 255 - OTHER_MEAN) / OTHER_STD)
    torch.testing.assert_close(answers, images / 10)


@pytest.mark.usefixtures("in_float32")
def test_a_model_for_segmentation_teaches_by_its_prediction(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name_tiny_segmenter(monkeypatch)
    torch.manual_seed(0)
    model = TinySegmenter(CLASSES).eval()
    torch.save(model.state_dict(), tmp_path / "teacher.pth")
    given = scenes_taught_by({"model": "tiny_segmenter", "weights": str(tmp_path / "teacher.pth")})
    images = torch.randn(2, 3, 9, 14)
    torch.testing.assert_close(load_teacher(given, CPU, NAMES)(images), model.segment(images))


def test_a_bundle_for_one_size_teaches_no_other(pixel_bundle: Path, tmp_path: Path) -> None:
    data = write_stripes(tmp_path / "data", "train", [("red", "green")])
    export(pixel_bundle, "onnx", tmp_path / "fixed", data, size=(8, 8))
    with pytest.raises(ConvsmithError, match="fixed takes images of 8x8 pixels, the student is trained on"):
        load_teacher(scenes_taught_by({"bundle": str(tmp_path / "fixed")}), CPU, LABELS)


def test_a_bundle_for_another_task_is_refused(pixel_bundle: Path) -> None:
    with pytest.raises(ConvsmithError, match="is a bundle for segmentation: the student's task is classification"):
        load_teacher(taught_by({"bundle": str(pixel_bundle)}), CPU, LABELS)


def test_a_run_directory_stands_for_its_bundle(tmp_path: Path) -> None:
    write_colour_bundle(tmp_path / "run" / "bundle")
    images = torch.rand(2, 3, 8, 8)
    assert torch.equal(colour_teacher(tmp_path / "run")(images), colour_teacher(tmp_path / "run/bundle")(images))


def test_a_run_directory_is_no_file_of_weights(tmp_path: Path) -> None:
    with pytest.raises(ConvsmithError, match=f"is a directory: .*\nOf a run, set bundle={tmp_path}"):
        load_teacher(taught_by({"model": "cifar_resnet20", "weights": str(tmp_path)}), CPU, NAMES)


def test_the_digest_of_a_teacher_is_that_of_its_file(checkpoint: Path, tmp_path: Path) -> None:
    bundle = write_colour_bundle(tmp_path / "run" / "bundle")
    of_run = Teacher(bundle=str(tmp_path / "run"))
    of_file = Teacher(**zoo(checkpoint))
    assert teacher_digest(of_run) == sha256_of(bundle / "model.onnx")
    assert teacher_digest(of_file) == sha256_of(checkpoint)
    assert teacher_digest(Teacher(model="cifar_resnet20", weights="cifar_resnet20.akamaster")) is None
    assert teacher_digest(Teacher(model="timm/test_resnet", weights="pretrained")) is None


def test_a_bundle_in_another_format_is_no_teacher(tmp_path: Path) -> None:
    folder = write_colour_bundle(tmp_path / "bundle", {"model.ts": b""}, format="torchscript")
    with pytest.raises(ConvsmithError, match="holds no ONNX model: its format is torchscript"):
        teacher_digest(Teacher(bundle=str(folder)))


def test_a_bundle_sees_no_colours_that_are_none(colour_bundle: Path) -> None:
    answers = colour_teacher(colour_bundle)(torch.full((1, 3, 8, 8), 9.0))
    assert answers.tolist() == [pytest.approx([25.5] * 3)]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({}, "takes images of 8x8 pixels, the student is trained on 32x32"),
        ({"labels": [*LABELS, "grey"], "model": colour_model(4)}, "has 4 classes, the student 3"),
        ({"labels": ["m-red", "a-green", "z-blue"]}, "has other classes: its classes are `m-red`, `a-green`, `z-blue`"),
    ],
)
def test_a_bundle_that_does_not_fit_is_refused(tmp_path: Path, change: dict[str, Any], words: str) -> None:
    folder = write_colour_bundle(tmp_path / "bundle", **change)
    with pytest.raises(ConvsmithError, match=f"distillation.teacher cannot teach: .*{words}"):
        load_teacher(taught_by({"bundle": str(folder)}), CPU, LABELS)


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ({"bundle": "no/such/bundle"}, "no/such/bundle is not a bundle"),
        ({"model": "cifar_resnet20", "weights": "missing.pth"}, "there is no checkpoint file missing.pth"),
        ({"model": "cifar_resnet2", "weights": "missing.pth"}, "unknown model `cifar_resnet2`; did you mean"),
        ({"model": "cifar_resnet20", "weights": "cifar_resnet20.akamastr"}, "unknown weights"),
    ],
)
def test_a_teacher_that_cannot_be_had_is_named(source: dict[str, Any], words: str) -> None:
    with pytest.raises(ConvsmithError, match=f"distillation.teacher cannot teach: .*{words}"):
        load_teacher(taught_by(source), CPU, NAMES)


def test_a_teacher_of_another_task_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name_tiny_segmenter(monkeypatch)
    torch.save(TinySegmenter(CLASSES).state_dict(), tmp_path / "teacher.pth")
    source = {"model": "tiny_segmenter", "weights": str(tmp_path / "teacher.pth")}
    with pytest.raises(ConvsmithError, match="`tiny_segmenter` is not a model for classification"):
        load_teacher(taught_by(source), CPU, NAMES)


def test_a_teacher_of_other_classes_is_refused_rather_than_given_a_new_head(checkpoint: Path) -> None:
    with pytest.raises(ConvsmithError, match="gives `cifar_resnet20` no head for num_classes=7"):
        load_teacher(taught_by(zoo(checkpoint)), CPU, tuple("abcdefg"))


def test_the_number_of_threads_is_that_of_the_training(colour_bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []
    monkeypatch.setattr(teacher_module, "OnnxRuntime", lambda _, threads: asked.append(threads))
    colour_teacher(colour_bundle)
    assert asked == [torch.get_num_threads()]


def test_mixed_pixels_are_rounded_for_a_bundle(colour_bundle: Path) -> None:
    normalised = torch.full((1, 3, 8, 8), 0.5)
    values = (normalised * OTHER_STD + OTHER_MEAN) * 255
    answers = colour_teacher(colour_bundle, *OTHER)(normalised)
    assert np.allclose(answers[0], values[0, :, 0, 0].round() / 10)
