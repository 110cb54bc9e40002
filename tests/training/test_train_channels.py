"""Whole trainings on images of other channels than RGB, and what is done with their bundles."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray
from PIL import Image

import convsmith as cs
from convsmith.bundle.predictor import Bundle, load
from convsmith.bundle.segmentation import Segmentation
from convsmith.data.open_data import data_of_recipe
from convsmith.errors import ConvsmithError
from convsmith.jobs.quantize import quantize
from convsmith.models.base import VisionModel
from convsmith.recipe.load import load_recipe
from convsmith.serve.app import create_app
from convsmith.training.model_plan import build_model
from tests.serve.running import post, served
from tests.tasks.tiny_segmenter import name_tiny_segmenter
from tests.training.conftest import SMALL
from tests.training.scenes import scenes_recipe
from tests.training.tiny_model import name_tiny

EACH = 10  # images of a class
FIELDS = {  # channels, highest value
    "grey": (1, 255),
    "four bands": (4, 255),
    "four bands of 12 bits": (4, 4095),
    "five bands in arrays": (5, 255),
}


@pytest.fixture(autouse=True, scope="module")
def _tiny() -> object:
    with pytest.MonkeyPatch.context() as patch:
        name_tiny(patch)
        name_tiny_segmenter(patch)
        patch.setattr("convsmith.deploy.speed._SECONDS", 0.0)
        yield


def field(number: int, channels: int, highest: int) -> NDArray[Any]:
    """Noise, brighter in the first channel where the number is odd."""
    values = np.random.default_rng(number).integers(0, highest // 2, (20, 24, channels))
    values[..., 0] += (number % 2) * highest // 2
    return values.astype(np.uint8 if highest == 255 else np.uint16)


def write(path: Path, values: NDArray[Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if values.shape[2] == 1:
        Image.fromarray(values[..., 0]).save(path.with_suffix(".png"))
        return
    if values.shape[2] == 5:
        np.save(path.with_suffix(".npy"), values)
        return
    extra = ["unspecified"] * (values.shape[2] - 1)
    tifffile.imwrite(path, values, photometric="minisblack", planarconfig="contig", extrasamples=extra)


def write_fields(root: Path, channels: int, highest: int) -> Path:
    for number in range(2 * EACH):
        part = "val" if number < 6 else "train"
        write(root / part / ("dim", "bright")[number % 2] / f"{number:02}.tif", field(number, channels, highest))
    return root


def words(channels: int, highest: int) -> list[str]:
    more = [f"preprocess.range=[0, {highest}]"] if highest > 255 else []
    return [*SMALL, "model.name=tiny", "schedule.epochs=2", f"data.channels={channels}", *more]


@pytest.fixture(scope="module", params=FIELDS.values(), ids=list(FIELDS))
def trained(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, cs.Run]:
    """The images, and a run on them."""
    folder = tmp_path_factory.mktemp("fields")
    data = write_fields(folder / "data", *request.param)
    return data, cs.train(cs.load_recipe("digits", words(*request.param)), data, folder / "run")


def val_files(data: Path) -> list[Path]:
    return sorted((data / "val").glob("*/*"))


def test_the_bundle_says_what_it_takes(trained: tuple[Path, cs.Run]) -> None:
    _, run = trained
    manifest, recipe = load(run.bundle).manifest, run.recipe
    assert manifest.preprocess == recipe.preprocess
    assert manifest.preprocess.bands == recipe.bands


def test_mean_and_deviation_are_those_of_the_training_images(trained: tuple[Path, cs.Run]) -> None:
    data, run = trained
    train = data_of_recipe(run.recipe, data).train
    pixels = np.stack([np.asarray(train.read(i, run.recipe.bands)[0]) for i in range(len(train))]) / 255
    assert np.allclose(run.recipe.preprocess.mean, pixels.mean(axis=(0, 1, 2)), atol=1e-4)
    assert np.allclose(run.recipe.preprocess.std, pixels.std(axis=(0, 1, 2)), atol=1e-4)


def test_validation_and_bundle_see_the_same_bytes(trained: tuple[Path, cs.Run]) -> None:
    data, run = trained
    dataset, bundle = data_of_recipe(run.recipe, data), load(run.bundle)
    read = dataset.validation_reader("val", run.recipe.preprocess)
    for i in range(len(dataset.val)):
        seen = read(i)[0].numpy()
        assert np.array_equal(seen, bundle.preprocess(dataset.val.name(i)))
        assert seen.shape == (run.recipe.data.channels, 16, 16)


def test_evaluation_counts_what_training_reported(trained: tuple[Path, cs.Run]) -> None:
    data, run = trained
    reported = [line for line in run.metrics if line["split"] == "val"]
    assert cs.evaluate(run.bundle, data).figures["top1"] == max(line["top1"] for line in reported)


def test_files_arrays_and_http_get_one_answer(trained: tuple[Path, cs.Run]) -> None:
    data, run = trained
    bundle: Bundle[Any] = load(run.bundle)
    file = val_files(data)[0]
    channels = run.recipe.data.channels
    expected = bundle.predict(file).to_dict()
    assert bundle.predict(field(int(file.stem), channels, highest_of(run))).to_dict() == expected
    with served(create_app(run.bundle)) as (_, address):
        answer = post(address, file.read_bytes(), file.name).json()
        wrong = post(address, _png_of_colours(), "photo.png")
    assert answer["label"] == expected["label"]
    assert answer["score"] == pytest.approx(expected["score"], abs=1e-6)
    assert wrong.status_code == 415
    assert f"where data.channels is {channels}" in wrong.text


def highest_of(run: cs.Run) -> int:
    return int(run.recipe.preprocess.range[1]) if run.recipe.preprocess.range else 255


def _png_of_colours() -> bytes:
    content = io.BytesIO()
    Image.fromarray(field(0, 3, 255)).save(content, "PNG")
    return content.getvalue()


def test_a_bundle_of_four_channels_becomes_int8(trained: tuple[Path, cs.Run], tmp_path: Path) -> None:
    data, run = trained
    if run.recipe.data.channels != 4:
        pytest.skip("one number of channels will do")
    quantize(run.bundle, data, tmp_path / "int8", max_drop=100.0)
    assert load(tmp_path / "int8").predict(val_files(data)[0]).to_dict()["label"] in ("dim", "bright")
    assert cs.benchmark([tmp_path / "int8"], images=data, batches=(1,), seconds=0.01).records()


def test_the_same_command_goes_on_without_measuring_again(
    trained: tuple[Path, cs.Run], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    data, run = trained
    monkeypatch.setattr("convsmith.data.channel_mean.channel_mean", None)
    cs.train(cs.load_recipe("digits", words(run.recipe.data.channels, highest_of(run))), data, run.path)
    assert "finished" in caplog.text


@pytest.mark.parametrize(("channels", "told"), [(4, "it has 3 channels"), (1, "it has 3 channels, and they differ")])
def test_images_of_other_channels_end_it_before_the_first_step(channels: int, told: str, tmp_path: Path) -> None:
    for number in range(12):
        path = tmp_path / "data" / ("a", "b")[number % 2] / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(field(number, 3, 255)).save(path)
    recipe = cs.load_recipe("digits", words(channels, 255))
    with pytest.raises(ConvsmithError) as caught:
        cs.train(recipe, tmp_path / "data", tmp_path / "run")
    assert f".png: {told}, where data.channels is {channels}\nSet data.channels=3" in str(caught.value)
    assert not (tmp_path / "run" / "metrics.jsonl").exists()


def test_arrays_in_memory_have_their_channels(tmp_path: Path) -> None:
    images, labels = [field(number, 4, 255) for number in range(20)], [str(number % 2) for number in range(20)]
    recipe = cs.load_recipe("digits", [*words(4, 255), "schedule.epochs=1"])
    run = cs.train(recipe, (images, labels), tmp_path / "run")
    assert len(load(run.bundle).manifest.preprocess.mean) == 4
    with pytest.raises(ConvsmithError, match=r"train image \d+: it has 4 channels, where data.channels is 5"):
        cs.train(cs.load_recipe("digits", words(5, 255)), (images, labels), tmp_path / "other")


@pytest.mark.parametrize("channels", [1, 4])
def test_scenes_of_other_channels_are_segmented_alike_in_training_and_bundle(channels: int, tmp_path: Path) -> None:
    for number in range(8):
        part = "val" if number < 3 else "train"
        write(tmp_path / "data" / "images" / part / f"{number:02}.tif", field(number, channels, 255))
        mask = (field(number, channels, 255)[..., 0] > 60).astype(np.uint8)
        (tmp_path / "data" / "masks" / part).mkdir(parents=True, exist_ok=True)
        Image.fromarray(mask).save(tmp_path / "data" / "masks" / part / f"{number:02}.png")
    recipe = scenes_recipe(
        tmp_path, f"data.channels={channels}", "data.masks={classes: [dim, bright]}", "schedule.epochs=1"
    )
    run = cs.train(recipe, tmp_path / "data", tmp_path / "run")
    reported = [line for line in run.metrics if line["split"] == "val"][-1]
    assert cs.evaluate(run.bundle, tmp_path / "data").figures["miou"] == pytest.approx(reported["miou"])
    bundle: Bundle[Segmentation] = load(run.bundle)
    answer = bundle.predict(sorted((tmp_path / "data" / "images" / "val").iterdir())[0])
    assert answer.mask.shape == (20, 24)
    assert answer.overlay(field(0, channels, 255)).shape == (20, 24, 3)


def test_published_weights_start_a_model_of_four_channels() -> None:
    recipe = load_recipe("resnet18-folder", ["data.channels=4", "model.num_classes=3"])
    model: VisionModel = build_model(recipe)
    assert model.in_channels == 4
