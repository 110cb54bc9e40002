"""A whole training for segmentation, and that everything which shows its masks shows the same ones."""

from __future__ import annotations

import io
import shutil
from pathlib import Path

import httpx
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

import convsmith as cs
from convsmith.bundle.segmentation import from_runs
from convsmith.data.open_data import data_of_recipe
from convsmith.serve.app import create_app
from convsmith.training.pack import _parity_images
from tests.serve.running import PATIENCE, served
from tests.tasks.tiny_segmenter import name_tiny_segmenter
from tests.training.scenes import CLASSES, TRAIN, VAL, scenes_recipe, write_scenes


@pytest.fixture(autouse=True, scope="module")
def _tiny() -> object:
    with pytest.MonkeyPatch.context() as monkeypatch:
        name_tiny_segmenter(monkeypatch)
        yield


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_scenes(tmp_path_factory.mktemp("data") / "scenes")


@pytest.fixture(scope="module")
def run(scenes: Path, tmp_path_factory: pytest.TempPathFactory) -> cs.Run:
    """Sixteen epochs of three steps, of which the fifth, the tenth, the 15th and the last are validated."""
    folder = tmp_path_factory.mktemp("runs")
    return cs.train(scenes_recipe(folder, "schedule.epochs=16", "eval_every=5"), scenes, folder / "run")


def reported(run: cs.Run) -> list[dict[str, float]]:
    return [line for line in run.metrics if line["split"] == "val"]


def test_training_learns_what_there_is_to_see(run: cs.Run) -> None:
    assert reported(run)[-1]["miou"] > 0.7


def test_the_figures_are_those_of_masks_and_the_loss_that_breaks_ties(run: cs.Run) -> None:
    assert {"loss", "miou", "mean_accuracy", "pixel_accuracy"} <= reported(run)[-1].keys()


def test_only_each_so_many_epochs_and_the_last_are_validated(run: cs.Run) -> None:
    assert [line["epoch"] for line in reported(run)] == [5, 10, 15, 16]
    assert [line["epoch"] for line in run.metrics if line["split"] == "train"] == list(range(1, 17))


def test_evaluate_gives_exactly_the_figures_that_training_reported(run: cs.Run, scenes: Path) -> None:
    report, best = cs.evaluate(run.bundle, scenes), max(reported(run), key=lambda line: line["miou"])
    assert report.held_out
    assert report.images == VAL
    for name in ("miou", "mean_accuracy", "pixel_accuracy"):
        assert getattr(report, name) == best[name] == cs.load(run.bundle).manifest.metrics[name]


def test_the_bundle_says_what_was_trained_and_how_images_are_looked_at(run: cs.Run) -> None:
    manifest = cs.load(run.bundle).manifest
    assert (manifest.task, manifest.labels) == ("segmentation", CLASSES)
    assert manifest.preprocess == run.recipe.preprocess
    assert manifest.parity["images"] == VAL
    assert manifest.parity["top1_agreement"] == 1.0


def test_the_bundle_has_the_colours_of_the_data(scenes: Path, tmp_path: Path) -> None:
    colours = "[[0, 0, 0], [200, 0, 0], [0, 0, 200]]"
    recipe = scenes_recipe(tmp_path, "schedule.epochs=1", f"data.masks.colours={colours}")
    manifest = cs.load(cs.train(recipe, scenes, tmp_path / "run").bundle).manifest
    assert manifest.colours == ((0, 0, 0), (200, 0, 0), (0, 0, 200))


@pytest.fixture(scope="module")
def photo(scenes: Path) -> bytes:
    return (scenes / "images" / "val" / "03.png").read_bytes()


@pytest.fixture(scope="module")
def mask(run: cs.Run, photo: bytes) -> NDArray[np.uint8]:
    """What the bundle says of the photo; all classes are in it."""
    bundle: cs.Bundle[cs.Segmentation] = cs.load(run.bundle)
    mask = bundle.predict(photo).mask
    assert set(np.unique(mask)) == {0, 1, 2}
    return mask


def test_the_server_gives_the_same_mask_as_png_and_as_runs(run: cs.Run, photo: bytes, mask: NDArray[np.uint8]) -> None:
    with served(create_app(run.bundle)) as (_, url):
        png, json = (
            httpx.post(f"{url}/predict", files={"image": photo}, headers={"Accept": kind}, timeout=PATIENCE)
            for kind in ("image/png", "application/json")
        )
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(png.content))), mask)
    assert np.array_equal(from_runs(json.json()["runs"], json.json()["size"]), mask)


def test_the_command_writes_the_same_mask(run: cs.Run, photo: bytes, mask: NDArray[np.uint8], tmp_path: Path) -> None:
    from convsmith.cli.main import main

    (tmp_path / "photo.png").write_bytes(photo)
    with pytest.raises(SystemExit, match="0"):
        main(["predict", str(run.bundle), str(tmp_path / "photo.png"), "--out", str(tmp_path / "masks")])
    assert np.array_equal(np.asarray(Image.open(tmp_path / "masks" / "photo.png")), mask)


@pytest.mark.parametrize(
    ("keys", "sizes"), [(["base_size=64"], {64}), (["base_size=64", "window={size: [16, 16]}"], {16})]
)
def test_a_bundle_is_proved_by_what_the_model_sees(
    keys: list[str], sizes: set[int], scenes: Path, tmp_path: Path
) -> None:
    recipe = scenes_recipe(tmp_path, *(f"preprocess.{key}" for key in keys))
    images = list(_parity_images(recipe, data_of_recipe(recipe, scenes)))
    assert len(images) == VAL
    assert {max(image.shape[2:]) for image in images} == sizes  # those of the files are 17 to 30


def test_early_stopping_counts_validations_not_epochs(
    scenes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("convsmith.deploy.bundle.make_bundle", lambda *args, **kwargs: None)
    overrides = ("schedule.epochs=12", "eval_every=2", "early_stopping={patience: 2, min_delta: 1}")
    run = cs.train(scenes_recipe(tmp_path, *overrides), scenes, tmp_path / "run")
    assert [line["epoch"] for line in reported(run)] == [2, 4, 6]
    assert run.metrics[-1]["epoch"] == 6


def test_validation_is_that_of_the_recipe_looking_several_times(scenes: Path, tmp_path: Path) -> None:
    overrides = ("schedule.epochs=1", "preprocess.flip=true", "preprocess.scales=[0.75, 1.0, 1.5]")
    run = cs.train(scenes_recipe(tmp_path, *overrides), scenes, tmp_path / "run")
    assert cs.evaluate(run.bundle, scenes).miou == reported(run)[-1]["miou"]


@pytest.fixture
def torn(scenes: Path, tmp_path: Path) -> Path:
    """One training mask is a pixel wider than its image, and one validation mask is torn."""
    root = shutil.copytree(scenes, tmp_path / "torn")
    path = root / "masks" / "train" / "03.png"
    with Image.open(path) as mask:
        wider = Image.new("L", (mask.width + 1, mask.height))
    wider.save(path)
    broken = root / "masks" / "val" / "01.png"
    broken.write_bytes(broken.read_bytes()[:50])
    return root


def test_bad_pairs_are_named_before_the_first_step(torn: Path, tmp_path: Path) -> None:
    with pytest.raises(cs.ConvsmithError, match=rf"2 of {TRAIN + VAL} images cannot be used") as caught:
        cs.train(scenes_recipe(tmp_path), torn, tmp_path / "run")
    assert "train/03.png" in caught.value.what
    assert "val/01.png" in caught.value.what
    assert not list((tmp_path / "run" / "checkpoints").iterdir())


def test_skip_leaves_bad_pairs_out_of_training_and_figures(torn: Path, tmp_path: Path) -> None:
    run = cs.train(scenes_recipe(tmp_path, "schedule.epochs=1", "data.on_error=skip"), torn, tmp_path / "run")
    bad = (run.path / "bad_files.txt").read_text().splitlines()
    assert [Path(line.split("\t")[0]).name for line in bad] == ["03.png", "01.png"]
    report = cs.evaluate(run.bundle, torn)
    assert (report.images, len(report.unreadable)) == (VAL - 1, 1)
    assert report.miou == reported(run)[-1]["miou"]


def test_a_value_that_is_no_class_is_named_with_its_file(scenes: Path, tmp_path: Path) -> None:
    root = shutil.copytree(scenes, tmp_path / "data")
    (root / "classes.txt").write_text("background\nred\n")
    with pytest.raises(cs.ConvsmithError, match=r"00\.png: it holds the value 2, not only 0 to 1 and 255") as caught:
        cs.train(scenes_recipe(tmp_path), root, tmp_path / "run")
    assert "Correct the mask, or set data.masks.label_map" in caught.value.fix


def test_a_classifier_is_refused_before_the_first_step(scenes: Path, tmp_path: Path) -> None:
    with pytest.raises(cs.ConvsmithError, match="segmentation cannot train this model"):
        cs.train(scenes_recipe(tmp_path, "model.name=cifar_resnet20"), scenes, tmp_path / "run")


def test_a_run_does_not_go_on_with_other_class_names(
    scenes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("convsmith.deploy.bundle.make_bundle", lambda *args, **kwargs: None)
    root = shutil.copytree(scenes, tmp_path / "data")
    recipe = scenes_recipe(tmp_path, "schedule.epochs=1")
    cs.train(recipe, root, tmp_path / "run")
    (root / "classes.txt").write_text("background\nred\nviolet\n")
    with pytest.raises(cs.ConvsmithError, match="does not hold the data that this run began with"):
        cs.train(recipe, root, tmp_path / "run")
