from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from convsmith.analyze.evaluate import evaluate_bundle
from convsmith.analyze.report.make_report import report
from convsmith.bundle.calibration import Calibration, Sets
from convsmith.errors import ConvsmithError
from tests.analyze.report.conftest import NASTY
from tests.analyze.report.tags import Tags
from tests.colours import picture, write_colour_bundle


def test_nothing_on_the_page_is_fetched_and_only_its_own_script_runs(page: Path) -> None:
    found, text = Tags(page), page.read_text("utf-8")
    assert not {"link", "iframe", "object", "base", "form"} & {tag for tag, _ in found.tags}
    for _, attributes in found.tags:
        assert not any(name.startswith("on") for name in attributes)
        assert (attributes.get("src") or "data:image/").startswith("data:image/")
        assert (attributes.get("href") or "#").startswith("#")
    assert len([tag for tag, attributes in found.tags if tag == "script" and not attributes.get("type")]) == 1
    assert "script-src 'sha256-" in text
    assert not re.search(r"https?:|@import|url\((?!#)", text)


def test_names_are_text_whatever_they_hold(page: Path) -> None:
    found = Tags(page)
    assert NASTY in found.text
    assert all(attributes.get("src") != "x" for _, attributes in found.tags)


def test_each_section_has_its_link(page: Path) -> None:
    found = Tags(page)
    assert found.links == found.sections
    assert found.sections >= {
        "what-was-trained", "final-figures", "how-far-it-can-be-trusted", "confusion", "classes", "worst-errors",
        "proof-of-the-export", "speed-on-this-machine", "make-it-again", "environment",
    }  # fmt: skip


def test_ids_are_of_one_element_each(page: Path) -> None:
    ids = [attributes["id"] for _, attributes in Tags(page).tags if "id" in attributes]
    assert len(ids) == len(set(ids))


def test_the_numbers_beside_the_page_are_those_of_evaluate(page: Path, bundle: Path, photos: Path) -> None:
    numbers = json.loads(page.with_suffix(".json").read_text())
    expected = evaluate_bundle(bundle, photos)
    assert numbers["evaluation"] == json.loads(json.dumps(expected.to_dict()))
    assert numbers["worst"][0]["loss"] >= numbers["worst"][-1]["loss"]
    assert numbers["benchmark"]["rows"]


def test_the_worst_images_come_first_with_what_is_true_and_what_was_said(page: Path, photos: Path) -> None:
    numbers = json.loads(page.with_suffix(".json").read_text())
    wrong = [it for it in numbers["worst"] if it["true"] != it["predicted"]]
    assert wrong == numbers["worst"][: len(wrong)]
    assert len(wrong) == 6
    found = Tags(page)
    pictures = [attributes for tag, attributes in found.tags if tag == "img"]
    assert len(numbers["worst"]) == 24
    assert len(pictures) == 24 + 6  # of the first, where it looked, found by hiding parts
    assert wrong[0]["name"] in found.text


def test_charts_have_a_title_and_words_for_those_who_do_not_see_them(page: Path) -> None:
    found = Tags(page)
    charts = [attributes for tag, attributes in found.tags if tag == "svg"]
    ids = {attributes.get("id") for _, attributes in found.tags}
    assert len(charts) == 2
    assert all(set((attributes["aria-labelledby"] or "").split()) <= ids for attributes in charts)
    assert "share of images: from" in found.text


def test_the_same_facts_give_the_same_page(bundle: Path, tmp_path: Path) -> None:
    for name in ("a", "b"):
        report(bundle, out=tmp_path / f"{name}.html")
    assert (tmp_path / "a.html").read_bytes() == (tmp_path / "b.html").read_bytes()


def test_without_images_the_page_says_what_they_would_add(bundle: Path, tmp_path: Path) -> None:
    facts = report(bundle, out=tmp_path / "report.html")
    assert facts.judged is None
    assert f"convsmith report {bundle} --data DATA" in Tags(tmp_path / "report.html").text


def test_masks_are_shown_over_the_worst_images_with_a_legend(page_of_masks: Path) -> None:
    found = Tags(page_of_masks)
    numbers = json.loads(page_of_masks.with_suffix(".json").read_text())
    assert [Path(it["name"]).stem for it in numbers["worst"]] == ["2", "1", "0"]
    assert len([tag for tag, _ in found.tags if tag == "img"]) == 3 * 4
    assert len([it for tag, it in found.tags if tag == "span" and it.get("class") == "swatch"]) == 3
    assert "wrong pixels" in found.text


def test_a_page_of_another_ending_is_refused(bundle: Path, tmp_path: Path) -> None:
    with pytest.raises(ConvsmithError, match=r"does not end in \.html"):
        report(bundle, out=tmp_path / "report.pdf")


def test_a_place_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConvsmithError, match="does not exist"):
        report(tmp_path / "nothing")


def test_parts_that_the_model_is_worse_on_are_named(colour_bundle: Path, tmp_path: Path) -> None:
    for label, colours in (("red", ("#e01010", "#000020")), ("blue", ("#1010e0", "#1010e0"))):
        (tmp_path / "photos" / label).mkdir(parents=True)
        for i in range(60):
            (tmp_path / "photos" / label / f"{i}.png").write_bytes(picture(colours[i % 2]))
    report(colour_bundle, tmp_path / "photos", tmp_path / "report.html")
    shown = (tmp_path / "report.html").read_text()
    assert "Where it is worse" in shown
    assert re.search(r"<li>class red, brightness [^<]*: 0.0% \(0.0 to 11.4\) of 30 images, 50.0% expected</li>", shown)


def test_a_calibrated_bundle_says_what_it_gives(tmp_path: Path, photos: Path) -> None:
    before, after = ({"ece": 0.25, "loss": 1.5, "accuracy": 0.75}, {"ece": 0.03125, "loss": 0.5, "accuracy": 0.75})
    sets = {"coverage": 0.875, "true": 8, "mean_size": 1.5, "empty": 0.0, "single": 0.5, "by_class": [1.0, None, 0.75]}
    calibration = Calibration(
        weights=(0.5,), sets=Sets(coverage=0.8, thresholds=(0.2, 0.2, 0.2), shared=(0, 1, 2)),
        images={"scaling": 8, "thresholds": 8, "kept_back": 8},
        measured={"before": before, "after": after, "sets": sets},
    )  # fmt: skip
    labels = tuple(sorted(it.name for it in photos.iterdir()))
    report(write_colour_bundle(tmp_path / "b", calibration=calibration, labels=labels), photos, tmp_path / "a.html")
    said = Tags(tmp_path / "a.html").text
    assert "25.00 %" in said
    assert "3.12 %" in said
    assert "sets hold 87.50%" in said
    assert re.search(r"classes in a set\s*[0-3]\.\d{4}", said)


def test_the_proof_of_a_second_output_is_in_rows_of_its_own(tmp_path: Path) -> None:
    parity = {"max_abs_diff": 0.5, "embeddings": {"max_abs_diff": 0.25}}
    report(write_colour_bundle(tmp_path / "b", parity=parity), out=tmp_path / "a.html")
    assert re.search(r"embeddings, max abs diff\s*0\.25", Tags(tmp_path / "a.html").text)


def test_a_bundle_alone_shows_what_was_measured_when_it_was_made(tmp_path: Path) -> None:
    report(write_colour_bundle(tmp_path / "b", metrics={"top1": 0.875}), out=tmp_path / "a.html")
    said = Tags(tmp_path / "a.html").text
    assert re.search(r"top-1\s*87\.50 %", said)
    assert "95 % interval" not in said
