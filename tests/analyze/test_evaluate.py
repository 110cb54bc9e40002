from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from convsmith.analyze.evaluate import evaluate_bundle, judge_bundle
from convsmith.bundle.predictor import load
from convsmith.errors import ConvsmithError
from tests.colours import LABELS, colour_model, picture, without_answer_on_white, write_colour_bundle
from tests.stripes import write_pixel_bundle, write_stripes


@pytest.mark.parametrize(
    "recipe",
    [
        {},
        {"data": None},
        {"data": []},
        *({"data": {"val_fraction": value}} for value in (7.0, -1, None, "0.1", 10**400)),
    ],
)
def test_a_recipe_without_a_val_fraction_has_all_images_judged(tmp_path: Path, recipe: dict[str, Any]) -> None:
    bundle = write_colour_bundle(tmp_path / "bundle", recipe=recipe, data_digest="some data")
    for colour in ("red", "blue"):
        (tmp_path / "data" / colour).mkdir(parents=True)
        (tmp_path / "data" / colour / "a.png").write_bytes(picture(colour))
    assert evaluate_bundle(bundle, tmp_path / "data").images == 2


def test_an_image_without_a_finite_answer_is_left_out_and_named(tmp_path: Path) -> None:
    bundle = write_colour_bundle(tmp_path / "bundle", without_answer_on_white(colour_model()))
    for colour in ("red", "blue"):
        (tmp_path / "data" / colour).mkdir(parents=True)
        (tmp_path / "data" / colour / "a.png").write_bytes(picture(colour))
    white = tmp_path / "data" / "red" / "b.png"
    white.write_bytes(picture("white"))
    report = evaluate_bundle(bundle, tmp_path / "data")
    assert (report.images, report.top1) == (2, 1.0)
    assert report.unreadable == (f"the model gives no answer for {white}: its logits are not finite numbers",)


def test_a_format_that_is_not_known_yet_is_of_a_newer_convsmith(tmp_path: Path) -> None:
    bundle = write_colour_bundle(tmp_path / "b", {"model.flux": b""}, format="flux")
    with pytest.raises(ConvsmithError, match="bundle of a newer convsmith: its format is `flux`"):
        evaluate_bundle(bundle, tmp_path)


def test_what_is_said_of_each_image_stands_beside_its_name_and_not_beside_one_that_was_left_out(tmp_path: Path) -> None:
    bundle = write_colour_bundle(tmp_path / "bundle")
    for colour in ("red", "blue"):
        (tmp_path / "data" / colour).mkdir(parents=True)
        for number in range(2):
            (tmp_path / "data" / colour / f"{number}.png").write_bytes(picture(colour))
    (tmp_path / "data" / "blue" / "0.png").write_bytes(b"no image")
    judged = judge_bundle(load(bundle), tmp_path / "data")
    rows = zip(judged.names(), judged.results.rows(judged.bundle.labels), strict=True)
    assert {Path(name).relative_to(tmp_path / "data").as_posix(): row["predicted"] for name, row in rows} == {
        "blue/1.png": "blue",
        "red/0.png": "red",
        "red/1.png": "red",
    }


@pytest.mark.parametrize("task", ["classification", "segmentation"])
def test_json_has_the_figures_over_all_images_and_beside_them_those_of_each_class(task: str, tmp_path: Path) -> None:
    if task == "classification":
        bundle = write_colour_bundle(tmp_path / "b")
        for label in LABELS:
            (tmp_path / "data" / label).mkdir(parents=True)
            (tmp_path / "data" / label / "a.png").write_bytes(picture(label))
    else:
        bundle = write_pixel_bundle(tmp_path / "b")
        write_stripes(tmp_path / "data", "val", [("red", "green", "blue"), ("green", "red")])
    found = evaluate_bundle(bundle, tmp_path / "data")
    said = json.loads(json.dumps(found.to_dict()))
    assert {name: said[name] for name in found.figures} == dict(found.figures)
    assert {name: tuple(values) for name, values in said["classes"].items()} == dict(found.classes)
