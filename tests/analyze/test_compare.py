"""Models on the same images."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper
from PIL import Image

import convsmith as cs
from convsmith.analyze.compare_recipes import recipe_differences, same_but_for_seed
from convsmith.analyze.report.compare_page import compare_page
from convsmith.cli.main import main
from convsmith.data.digest import data_digest
from convsmith.data.folders.image_folder import open_image_folder
from convsmith.data.split import Share
from convsmith.errors import ConvsmithError
from tests.colours import LABELS, colour_model, write_colour_bundle
from tests.noisy_colours import BRIGHT, write_grainy
from tests.stripes import pixel_colour_model, write_pixel_bundle


@pytest.fixture(autouse=True, scope="module")
def _in_a_moment() -> Iterator[None]:
    """Speeds are measured ten times, not for half a second."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("convsmith.analyze.compare._SECONDS", 0.0)
        yield


def tuned(model: bytes, **gains: float) -> bytes:
    """The model, with the weights of some colours multiplied."""
    proto = onnx.load_from_string(model)
    weights = next(it for it in proto.graph.initializer if it.name == "weights")
    values = numpy_helper.to_array(weights).copy()
    for colour, gain in gains.items():
        values[LABELS.index(colour)] *= gain
    weights.CopyFrom(numpy_helper.from_array(values, "weights"))
    content: bytes = proto.SerializeToString()
    return content


@pytest.fixture(scope="module")
def worse(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle that takes green for red or blue."""
    return write_colour_bundle(tmp_path_factory.mktemp("bundle") / "worse", tuned(colour_model(), green=0.0))


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twenty images of each colour."""
    folder, random = tmp_path_factory.mktemp("data") / "photos", np.random.RandomState(0)
    for label, colour in BRIGHT.items():
        for i in range(20):
            write_grainy(folder / label / f"{i:02}.png", colour, random)
    return folder


@pytest.fixture(scope="module")
def comparison(colour_bundle: Path, worse: Path, photos: Path) -> Any:
    return cs.compare([worse, colour_bundle], photos, progress=lambda *_: None)


def test_the_better_model_is_named_with_mcnemars_p_and_the_gap(comparison: Any) -> None:
    (difference,) = comparison.differences
    assert (comparison.metric, comparison.images, comparison.better) == ("top1", 60, True)
    assert (difference.test, difference.p) == ("mcnemar", pytest.approx(2 * 0.5**20))
    assert difference.gaps["top1"].difference == pytest.approx(1 / 3)
    low, high = difference.gaps["top1"].interval
    assert 0.15 < low < 1 / 3 < high < 0.5


def test_images_that_one_has_right_and_the_other_wrong_are_named(comparison: Any, photos: Path) -> None:
    (difference,) = comparison.differences
    assert {Path(name).parent for name in difference.better_images} == {photos / "green"}
    assert len(difference.better_images) == 20
    assert difference.worse_images == ()


def test_figures_speed_and_size_stand_beside_each_other(comparison: Any) -> None:
    first, second = comparison.models
    assert (first.figures["top1"], second.figures["top1"]) == (pytest.approx(2 / 3), 1.0)
    assert second.intervals["top1"][1] == pytest.approx(1.0)
    assert min(first.milliseconds, first.milliseconds_in_all) > 0
    assert 0 < first.megabytes < 0.1


def test_a_model_beside_itself_is_unclear(colour_bundle: Path, photos: Path) -> None:
    found = cs.compare([colour_bundle, colour_bundle], photos, progress=lambda *_: None)
    assert (found.better, found.differences[0].p) == ("unclear", 1.0)


def test_of_several_models_each_is_compared_with_the_first(colour_bundle: Path, worse: Path, photos: Path) -> None:
    found = cs.compare([colour_bundle, worse, colour_bundle], photos, progress=lambda *_: None)
    assert [it.better for it in found.differences] == [False, "unclear"]
    assert "each needs p below 0.025" in found.notes[-1]


def test_a_bundle_with_its_classes_in_another_order_is_compared_by_their_names(
    colour_bundle: Path, photos: Path, tmp_path: Path
) -> None:
    order = [2, 0, 1]
    proto = onnx.load_from_string(colour_model())
    weights = next(it for it in proto.graph.initializer if it.name == "weights")
    weights.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(weights)[:, order].copy(), "weights"))
    labels = tuple(LABELS[i] for i in order)
    turned = write_colour_bundle(tmp_path / "turned", proto.SerializeToString(), labels=labels)
    found = cs.compare([colour_bundle, turned], photos, progress=lambda *_: None)
    assert [model.figures["top1"] for model in found.models] == [1.0, 1.0]


def test_models_of_other_classes_are_refused_by_name(colour_bundle: Path, photos: Path, tmp_path: Path) -> None:
    more = write_colour_bundle(tmp_path / "more", colour_model(4), labels=(*LABELS, "grey"))
    with pytest.raises(ConvsmithError, match="only one of them knows `grey`"):
        cs.compare([colour_bundle, more], photos)


def test_models_of_other_tasks_are_refused(colour_bundle: Path, pixel_bundle: Path, photos: Path) -> None:
    with pytest.raises(ConvsmithError, match="one is for segmentation, the other for classification"):
        cs.compare([colour_bundle, pixel_bundle], photos)


def test_one_model_is_refused(colour_bundle: Path, photos: Path) -> None:
    with pytest.raises(ConvsmithError, match="one model cannot be compared"):
        cs.compare([colour_bundle], photos)


def test_only_images_that_every_training_held_out_are_judged(colour_bundle: Path, photos: Path, tmp_path: Path) -> None:
    held = write_colour_bundle(
        tmp_path / "held",
        recipe={"data": {"val_fraction": 0.25}},
        data_digest=data_digest(open_image_folder(photos, Share(0.25))),
    )
    found = cs.compare([held, colour_bundle], photos, progress=lambda *_: None)
    assert found.images == 15
    assert [model.held_out for model in found.models] == [True, False]
    assert "left out: 45 images that not all models may be judged by" in found.notes


def test_masks_are_compared_by_a_paired_bootstrap(pixel_bundle: Path, tmp_path: Path) -> None:
    random = np.random.RandomState(0)
    for part in ("images", "masks"):
        (tmp_path / "data" / part).mkdir(parents=True)
    for i in range(20):
        classes = random.randint(0, 3, (12, 10))
        Image.fromarray(np.array(list(BRIGHT.values()), np.uint8)[classes]).save(tmp_path / f"data/images/{i}.png")
        Image.fromarray(classes.astype(np.uint8)).save(tmp_path / f"data/masks/{i}.png")
    (tmp_path / "data" / "classes.txt").write_text("\n".join(LABELS))
    blind = write_pixel_bundle(tmp_path / "blind", model=tuned(pixel_colour_model(), green=0.0))
    found = cs.compare([blind, pixel_bundle], tmp_path / "data", progress=lambda *_: None)
    (difference,) = found.differences
    assert (found.metric, difference.test, found.better) == ("miou", "bootstrap", True)
    low, high = difference.gaps["miou"].interval  # type: ignore[misc]
    assert 0 < low < difference.gaps["miou"].difference < high
    assert len(difference.better_images) == 20


def test_the_command_prints_json_for_a_program(
    colour_bundle: Path, worse: Path, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "rows.jsonl"
    words = ["compare", worse, colour_bundle, "--data", photos, "--out", out, "--json"]
    with pytest.raises(SystemExit, match="0"):
        main([*map(str, words)])
    found = json.loads(capsys.readouterr().out)
    assert found["better"] is True
    assert found["differences"][0]["gaps"]["top1"]["p"] < 0.01
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    assert len(rows) == 60
    assert {(row["right 1"], row["right 2"]) for row in rows if row["true"] == "green"} == {(False, True)}


def test_the_command_says_it_in_words(
    colour_bundle: Path, worse: Path, photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="0"):
        main(["compare", str(colour_bundle), str(worse), "--data", str(photos)])
    shown = capsys.readouterr().out
    assert "model 2 is worse than model 1: top-1 by -33.33 points" in shown
    assert "calibration error" in shown
    assert "worse about 20 images: " in shown


def test_recipes_differ_key_by_key() -> None:
    first = {"seed": 0, "optimizer": {"lr": 0.1, "name": "sgd"}, "description": "one"}
    other = {"seed": 0, "optimizer": {"lr": 0.2, "name": "sgd"}, "description": "two", "ema": {"decay": 0.9}}
    assert recipe_differences(first, other) == {"optimizer.lr": (0.1, 0.2), "ema.decay": (None, 0.9)}


def test_a_figure_that_only_calibrated_seeds_have_has_no_mean() -> None:
    recipes: list[dict[str, object]] = [{"seed": seed, "model": "a"} for seed in range(2)]
    (found,) = same_but_for_seed(recipes, [{"top1": 0.7, "set_coverage": 0.9}, {"top1": 0.8}])
    assert set(found.means) == {"top1"}


def test_seeds_of_one_recipe_have_a_mean_and_its_standard_error() -> None:
    recipes = [{"seed": seed, "lr": 0.1, "description": str(seed)} for seed in (0, 1, 2)] + [{"seed": 0, "lr": 0.2}]
    (found,) = same_but_for_seed(recipes, [{"top1": value, "loss": None} for value in (0.7, 0.8, 0.9, 0.1)])
    assert (found.models, found.seeds) == ((0, 1, 2), (0, 1, 2))
    assert found.means == {"top1": pytest.approx(0.8)}
    assert found.errors == {"top1": pytest.approx(0.1 / 3**0.5)}


def test_runs_have_their_curves_and_seeds(digits: Path, tiny: None, tmp_path: Path) -> None:
    from tests.training.conftest import SMALL

    words = [*SMALL, "model.name=tiny", "schedule.epochs=2", "batch.per_device=4"]
    runs = [
        cs.train(cs.load_recipe("digits", [*words, f"seed={seed}"]), digits, tmp_path / str(seed)) for seed in (0, 1)
    ]
    found = cs.compare([run.path for run in runs], digits, progress=lambda *_: None)
    assert found.differences[0].recipe == {"seed": (0, 1)}
    assert found.seeds[0].models == (0, 1)
    assert [line["epoch"] for line in found.models[0].curves["val"]] == [1, 2]
    assert all(model.held_out for model in found.models)
    assert "with other seeds: top-1" in str(found)

    page = compare_page(found)
    assert all(f'<section id="{it}">' in page for it in ("models", "differences", "figures", "recipes", "curves"))
    assert page.count("<svg role") == 3
    assert "model 2: from" in page


def test_a_page_of_bundles_has_all_but_curves(colour_bundle: Path, worse: Path, photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "compared.html"
    cs.compare([worse, colour_bundle], photos, page=out, progress=lambda *_: None)
    said = out.read_text("utf-8")
    assert "model 2 is better than model 1" in said
    assert '<section id="figures">' in said
    assert '<section id="curves">' not in said


def test_a_page_of_another_ending_is_refused_before_anything_is_judged(tmp_path: Path) -> None:
    with pytest.raises(ConvsmithError, match=r"does not end in \.html"):
        cs.compare([tmp_path, tmp_path], tmp_path, page=tmp_path / "compared.pdf")
