"""The model card that stands in every bundle."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import ModelCard
from huggingface_hub.repocard_data import model_index_to_eval_results

from convsmith.bundle.calibration import Calibration, Sets, Unknown
from convsmith.bundle.format import read_manifest
from convsmith.bundle.model_card import model_card
from convsmith.bundle.write import Card, rewrite_manifest
from tests.colours import write_colour_bundle

NASTY = "`x` | <script>alert(1)</script>\n---\nlicense: mit\n# [a](http://b)"


def card(folder: Path, **changes: Any) -> ModelCard:
    return ModelCard((write_colour_bundle(folder / "bundle", **changes) / "README.md").read_text("utf-8"))


def test_the_header_is_what_the_hub_reads(tmp_path: Path) -> None:
    data = card(tmp_path, metrics={"top1": 0.9, "loss": 0.25}).data
    assert data["library_name"] == "convsmith"
    assert data["pipeline_tag"] == "image-classification"
    index = data.to_dict()["model-index"]  # type: ignore[no-untyped-call]
    results = model_index_to_eval_results(index)[1]
    assert {(it.metric_type, it.metric_value) for it in results} == {("top1", 0.9), ("loss", 0.25)}


@pytest.mark.parametrize(
    ("weights", "licence"),
    [({"name": "resnet50.tv_v2", "licence": "BSD-3-Clause"}, "bsd-3-clause"), ({"name": "x", "licence": None}, None)],
)
def test_the_licence_is_that_of_the_weights_it_began_with(
    weights: dict[str, Any], licence: str | None, tmp_path: Path
) -> None:
    told = card(tmp_path, model_info={"name": "colour", "params": 9, "weights": weights})
    assert told.data.get("license") == licence
    assert f"`{weights['name']}`" in told.text


def test_no_name_in_it_is_taken_for_markup(tmp_path: Path) -> None:
    told = card(tmp_path, labels=(NASTY, "green", "blue"), model_info={"name": NASTY, "params": 9},
                recipe={"description": NASTY})  # fmt: skip
    assert told.data.get("license") is None
    lines = told.text.splitlines()
    assert not [line for line in lines if "<script>" in line and not line.startswith("    ") and "`" not in line]
    assert not [line for line in lines if line.startswith(("---", "license:", "# ["))]


def test_figures_and_limits_are_in_words(tmp_path: Path) -> None:
    told = card(tmp_path, metrics={"top1": 0.9}).text
    assert "| top-1 | 0.9000 |" in told
    assert "## Limits" in told
    assert "these 3 classes only" in told


def test_a_calibration_is_told_of(tmp_path: Path) -> None:
    measured = {"before": {"ece": 0.25}, "after": {"ece": 0.125}}
    calibration = Calibration(weights=(0.5,), unknown=Unknown(threshold=0.7), images={}, measured=measured)
    told = card(tmp_path, calibration=calibration).text
    assert "calibration error 0.2500 before and 0.1250 after" in told
    assert "an image of anything else may be `unknown`" in told


@pytest.mark.parametrize("edited", [False, True])
def test_the_card_follows_the_manifest_unless_it_was_edited(edited: bool, tmp_path: Path) -> None:
    folder = write_colour_bundle(tmp_path / "bundle", metrics={"top1": 0.5})
    if edited:
        (folder / "README.md").write_text("my own")
    manifest = read_manifest(folder)
    rewrite_manifest(folder, replace(Card.of(manifest), metrics={"top1": 0.75}), manifest.files)
    assert ("0.7500" in (folder / "README.md").read_text()) == (not edited)


WHOLE = """\

# `colour`

Classification of 3 classes, 9.5 million parameters, in the format onnx.

## Use

    # pip install convsmith
    import convsmith as cs
    bundle = cs.load("PATH")  # this folder, or hf:ORG/NAME
    print(bundle.predict("image.jpg"))

How an image becomes the model's input is in `bundle.json`, and done by the library: decode, resize,
crop, normalise. `convsmith serve PATH` answers over HTTP.

## Figures

Measured on the validation images:

| figure | value |
|---|---|
| top-1 | 0.9000 |
| loss | 0.2500 |

Probabilities are calibrated: calibration error 0.1250 before and 0.0625 after, on images kept back.
Answers have sets, asked to hold the true class in 90.0% of the images.
Answers are `unknown` where no probability reaches 0.7000.

## Training

- description: `colours`
- began with the weights `w`, whose licence is `not stated`
- made with `convsmith 0.1.0, torch 2`
- the whole recipe is in `bundle.json`, under `recipe`

## Proof

The exported file was compared with the trained model on real images:

    {
      "max_abs_difference": 0.0
    }

## Limits

- The figures are of images from the same source as those it learned from; others may be harder.
- It knows these 3 classes only: an image of anything else may be `unknown`, or get one of them all the same.
- What its training images lack or show too rarely, it has not learned. They are not part of this folder.

## Classes

    "red"
    "green"
    "blue"
"""


def test_the_whole_card(tmp_path: Path) -> None:
    calibration = Calibration(
        weights=(0.5,),
        sets=Sets(coverage=0.9, thresholds=(0.2,) * 3),
        unknown=Unknown(threshold=0.7),
        images={"scaling": 9},
        measured={"before": {"ece": 0.125}, "after": {"ece": 0.0625}},
    )
    told = card(
        tmp_path,
        metrics={"top1": 0.9, "loss": 0.25},
        model_info={"name": "colour", "params": 9_460_000, "weights": {"name": "w", "licence": None}},
        created_with={"convsmith": "0.1.0", "torch": "2"},
        calibration=calibration,
    )
    assert told.text == WHOLE


def test_what_is_not_known_is_not_said(tmp_path: Path) -> None:
    told = card(tmp_path, metrics={}, model_info={"name": "colour"}, recipe={"description": 3}).text
    assert "\nClassification of 3 classes, in the format onnx.\n" in told
    assert "\nNone were measured.\n" in told
    assert "- began with random weights, or with a file of the maker's" in told
    assert "- description" not in told


@pytest.mark.parametrize(("classes", "more"), [(100, ""), (101, "\nand 1 more, in `bundle.json`.")])
def test_a_hundred_classes_are_listed(classes: int, more: str, tmp_path: Path) -> None:
    manifest = read_manifest(write_colour_bundle(tmp_path / "b")).model_copy(
        update={"labels": tuple(f"é{i}" for i in range(classes))}
    )
    text = model_card(manifest)
    assert '    "é99"\n' in text
    assert text.endswith(more + "\n" if more else '    "é99"\n')
