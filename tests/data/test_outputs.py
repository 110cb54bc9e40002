"""What convsmith writes never becomes data."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from convsmith.analyze.chosen import choose_for_run
from convsmith.analyze.lr_finder import find_lr
from convsmith.analyze.profile import profile_training
from convsmith.data.folders.image_folder import open_image_folder, open_labelled_folder
from convsmith.data.folders.outputs import refuse_output_in_data
from convsmith.data.folders.scan import images_below
from convsmith.deploy.out import check_out
from convsmith.errors import ConvsmithError
from convsmith.recipe.load import load_recipe
from convsmith.training.train import train
from tests.data.folders import write_files

RECIPE = load_recipe("digits", ["model.num_classes=null"])
PHOTOS = ("cat/1.png", "cat/2.png", "dog/1.png", "dog/2.png")
OUTPUTS = {
    "a run": ("runs/x/recipe.yaml", "runs/x/plan.json", "runs/x/checkpoints/step-1/state.json", "runs/x/report.png"),
    "a run that did not begin": ("runs/x/.lock", "runs/x/log.txt"),
    "a ladder": ("runs/l/1/recipe.yaml", "runs/l/1/plan.json", "runs/l/ablation.json", "runs/l/ablation.png"),
    "a ladder that has just begun": ("runs/l/1/recipe.yaml", "runs/l/1/plan.json"),
    "a bundle": ("exported/bundle.json", "exported/model.onnx"),
    "a model repository": ("models/pets/bundle.json", "models/pets/config.pbtxt", "models/pets/1/model.onnx"),
    "a range test": ("lr-find/digits/lr_find.json", "lr-find/digits/lr_find.png"),
    "a profile": ("profile/digits/profile.json", "profile/digits/trace.json"),
    "masks": ("predictions/a.png", "predictions/a.overlay.jpg", "predictions/a.json"),
    "the demo": ("demo/digits/train/0/1.png", "demo/digits/val/0/1.png", "demo/run/plan.json", "demo/run/recipe.yaml"),
    "what MLflow keeps": ("mlruns/0/1/artifacts/first_batch.png",),
    "what W&B keeps": ("wandb/run-1/files/media/a.png",),
}


@pytest.mark.parametrize("above", ["", "train/"])
@pytest.mark.parametrize("what", OUTPUTS)
def test_outputs_beside_the_classes_are_left_out_with_a_note(tmp_path: Path, what: str, above: str) -> None:
    write_files(tmp_path, *[f"{above}{name}" for name in (*PHOTOS, *OUTPUTS[what])])
    folder = open_image_folder(tmp_path, None)
    assert folder.classes == ("cat", "dog")
    assert len(folder.train) == 4
    top = OUTPUTS[what][0].partition("/")[0]
    assert f"1 `{top}`" in folder.notes[-1]


@pytest.mark.parametrize("what", ["a run", "a ladder", "a bundle", "a range test", "a profile", "masks"])
def test_outputs_inside_a_class_are_left_out_too(tmp_path: Path, what: str) -> None:
    write_files(tmp_path, "cat/1.png", *[f"cat/{name}" for name in OUTPUTS[what]])
    others: Counter[str] = Counter()
    assert images_below(tmp_path, "cat", others) == [b"cat/1.png"]
    assert others["written by convsmith"] == 1


def test_a_choice_kept_for_a_run_beside_the_classes_is_left_out(tmp_path: Path) -> None:
    write_files(tmp_path, *PHOTOS)
    choose_for_run(tmp_path, tmp_path / "runs" / "pets")
    assert open_image_folder(tmp_path, None).classes == ("cat", "dog")


def test_an_image_with_a_file_of_labels_beside_it_is_no_prediction(tmp_path: Path) -> None:
    write_files(tmp_path, "cat/deep/1.png", "cat/deep/1.json")
    assert images_below(tmp_path, "cat", Counter()) == [b"cat/deep/1.png"]


def test_a_model_is_judged_beside_its_run(tmp_path: Path) -> None:
    write_files(tmp_path, *PHOTOS, *OUTPUTS["a run"])
    assert len(open_labelled_folder(tmp_path, ["cat", "dog"])[0]) == 4


@pytest.mark.parametrize("file", ["manifest.json", "recipe.yaml", "plan.json", "labels.txt", "1.json"])
def test_a_class_with_files_of_similar_names_stays(tmp_path: Path, file: str) -> None:
    folder = open_image_folder(write_files(tmp_path, *PHOTOS, f"cat/{file}"), None)
    assert len(folder.train) == 4


def test_an_unreadable_or_empty_folder_is_no_output(tmp_path: Path) -> None:
    with pytest.raises(ConvsmithError, match="no training images for `empty`"):
        open_image_folder(write_files(tmp_path, *PHOTOS, "empty/"), None)


@pytest.mark.parametrize(
    ("layout", "out"),
    [
        (PHOTOS, "cat/run"), (PHOTOS, "cat"), (PHOTOS, "."), (PHOTOS, "dog/deep/run"),
        (("train/cat/1.png", "val/cat/1.png"), "train/run"), (("train/cat/1.png", "val/cat/1.png"), "val/cat/run"),
        (("images/train/1.png", "masks/train/1.png"), "images/run"),
    ],
)  # fmt: skip
def test_an_output_among_the_images_is_refused(tmp_path: Path, layout: tuple[str, ...], out: str) -> None:
    write_files(tmp_path, *layout)
    with pytest.raises(ConvsmithError, match="would be taken for images of a class"):
        refuse_output_in_data(tmp_path / out, tmp_path)


@pytest.mark.parametrize("out", ["runs/y", "new", "runs/x", "../elsewhere", "notes/run"])
def test_an_output_beside_the_images_is_not(tmp_path: Path, out: str) -> None:
    data = write_files(tmp_path / "data", *PHOTOS, *OUTPUTS["a run"], "notes/read.txt")
    refuse_output_in_data(data / out, data)


@pytest.mark.parametrize(
    "write",
    [
        lambda out, data: train("digits", data, out),
        lambda out, data: find_lr(RECIPE, data, out),
        lambda out, data: profile_training(RECIPE, data, out),
        lambda out, data: check_out(out, (), data),
    ],
)
def test_every_command_that_writes_refuses_it_before(tmp_path: Path, write: Callable[[Path, Path], object]) -> None:
    write_files(tmp_path, *PHOTOS)
    with pytest.raises(ConvsmithError, match="would be taken for images"):
        write(tmp_path / "cat" / "out", tmp_path)
    assert not (tmp_path / "cat" / "out").exists()


def test_a_run_that_lies_among_the_images_may_go_on(tmp_path: Path) -> None:
    write_files(tmp_path, *PHOTOS, "cat/run/recipe.yaml", "cat/run/plan.json")
    refuse_output_in_data(tmp_path / "cat" / "run", tmp_path)


def test_a_link_into_the_images_is_seen_through(tmp_path: Path) -> None:
    data = write_files(tmp_path / "data", *PHOTOS)
    (tmp_path / "link").symlink_to(data / "cat")
    with pytest.raises(ConvsmithError, match="would be taken for images"):
        refuse_output_in_data(tmp_path / "link" / "run", data)
