"""The report at the end of a training: what `report --data` gives, as far as there is time."""

from __future__ import annotations

import io
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import convsmith as cs
from convsmith.analyze.report import at_end, in_time, make_report
from convsmith.analyze.report.at_end import LEAST, MOST, seconds_for
from convsmith.analyze.report.gather import facts_of_run
from convsmith.analyze.report.in_time import with_images
from convsmith.analyze.report.make_report import report
from convsmith.data.open_data import data_of_bundle
from convsmith.deploy.format import open_bundle
from convsmith.training.run import Run
from tests.analyze.report.tags import Tags
from tests.training.conftest import SMALL

REPORTS_AT_END = True

IMAGES = 20


@pytest.fixture(scope="module")
def data(digits: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The digits, at a place of their own."""
    return shutil.copytree(digits, tmp_path_factory.mktemp("data") / "digits")


@pytest.fixture(scope="module")
def run(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(at_end, "LEAST", 600.0)  # on a busy machine too
        patch.setattr(in_time, "_SPEED", 600.0)
        return cs.train("digits", data, tmp_path_factory.mktemp("runs") / "run", overrides=SMALL)


@pytest.fixture
def copy(run: Run, tmp_path: Path) -> Run:
    """The run, to be changed."""
    return Run(shutil.copytree(run.path, tmp_path / "copy"))


@pytest.fixture
def short_benchmarks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(make_report, "_SECONDS", 0.001)


def numbers_of(run: Run) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((run.path / "report.json").read_text())
    return found


def sections_of(run: Run) -> set[str]:
    return {it for it in Tags(run.path / "report.html").sections if it}


def test_tensorboard_can_read_the_pictures_of_the_finished_run(run: Run) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(run.path / "tensorboard"))
    events.Reload()
    for name in ("confusion", "errors"):
        shown = events.Images(f"pictures/{name}")[-1]
        with (
            Image.open(io.BytesIO(shown.encoded_image_string)) as kept,
            Image.open(run.pictures / f"{name}.png") as own,
        ):
            assert kept.convert("RGB").tobytes() == own.convert("RGB").tobytes()


def test_its_figures_and_intervals_are_those_of_evaluate(run: Run, data: Path) -> None:
    found, expected = numbers_of(run)["evaluation"], cs.evaluate(run.path, data)
    assert (found["images"], found["held_out"]) == (IMAGES, True)
    assert [found[it] for it in ("top1", "loss", "brier", "ece")] == pytest.approx(
        [expected.top1, expected.loss, expected.brier, expected.ece]
    )
    assert set(found["intervals"]) == set(expected.intervals)


def test_it_has_the_sections_of_the_report_with_images_but_for_the_speed(
    copy: Run, data: Path, short_benchmarks: None
) -> None:
    before = sections_of(copy)
    report(copy.path, data)
    assert sections_of(copy) - before == {"speed-on-this-machine"}
    assert "how-far-it-can-be-trusted" in before


def test_worst_images_have_heat_and_the_training_images_most_like_them(run: Run) -> None:
    found, worst = Tags(run.path / "report.html"), numbers_of(run)["worst"]
    told = [attributes.get("alt") or "" for tag, attributes in found.tags if tag == "img"]
    assert len(worst) == IMAGES
    assert len([it for it in told if it.startswith("where it looked")]) == IMAGES
    assert len([it for it in told if it.startswith("training image")]) == 3 * IMAGES


def test_it_says_what_it_lacks_and_the_command_that_gives_it(run: Run, data: Path) -> None:
    command = f"convsmith report {run.path} --data {data}"
    assert numbers_of(run)["missing"] == [
        f"The end of a training takes little time: the speed is not measured. All of it: {command}"
    ]


def test_where_time_is_short_a_part_is_judged_and_the_figures_are_those_of_all(run: Run, data: Path) -> None:
    dataset = data_of_bundle(open_bundle(run.bundle).manifest, data)
    facts = with_images(facts_of_run(run), run, dataset, 0.0)
    assert (facts.judged, facts.sample is None) == (None, False)
    assert facts.sample is not None
    assert 0 < facts.sample.evaluation.images < IMAGES
    assert 0 < len(facts.sample.worst) <= 12
    assert f"{facts.sample.evaluation.images} of {IMAGES} validation images are judged here" in facts.missing[0]


def test_with_time_to_spare_the_speed_is_measured_too(run: Run, data: Path, short_benchmarks: None) -> None:
    dataset = data_of_bundle(open_bundle(run.bundle).manifest, data)
    facts = with_images(facts_of_run(run), run, dataset, 60.0)
    assert facts.benchmark is not None
    assert facts.missing == ()


def test_the_page_of_a_part_tells_its_figures_apart_from_those_of_all(run: Run, data: Path, tmp_path: Path) -> None:
    dataset = data_of_bundle(open_bundle(run.bundle).manifest, data)
    facts = with_images(facts_of_run(run), run, dataset, 0.0)
    make_report.write_report(facts, tmp_path / "page.html")
    said = Tags(tmp_path / "page.html").text
    assert f"{IMAGES} images for validation" in said
    assert "More figures, of a part of the images" in said
    assert "for validation, taken evenly of all" in said


@pytest.mark.parametrize(("training", "seconds"), [(1, LEAST), (1000, 30.0), (1e6, MOST)])
def test_it_takes_a_share_of_the_training(training: float, seconds: float) -> None:
    assert seconds_for(training) == pytest.approx(seconds)


def test_images_in_memory_are_shown_too(tmp_path: Path) -> None:
    images = np.random.default_rng(0).integers(0, 256, (24, 16, 16, 3), np.uint8)
    run = cs.train("digits", (images, ["ab"[i % 2] for i in range(24)]), tmp_path / "run", overrides=SMALL)
    found = numbers_of(run)
    assert found["data"] is None
    assert found["worst"]
    assert "worst-errors" in sections_of(run)


def test_a_report_without_data_finds_those_of_the_run(copy: Run, data: Path, short_benchmarks: None) -> None:
    facts = report(copy.path)
    assert facts.data == str(data)
    assert facts.judged is not None
    assert facts.judged.evaluation.images == IMAGES
    assert "worst-errors" in sections_of(copy)


def test_a_page_whose_images_have_gone_stays_as_it_is(
    copy: Run, data: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    numbers = copy.path / "report.json"
    numbers.write_text(numbers.read_text().replace(str(data), str(tmp_path / "gone")))
    before = (copy.path / "report.html").read_bytes()
    report(copy.path)
    assert (copy.path / "report.html").read_bytes() == before
    assert "stays as it is" in caplog.text
    report(copy.path, out=tmp_path / "other.html")
    assert "worst-errors" not in Tags(tmp_path / "other.html").sections


def test_a_run_without_a_report_gets_one_of_what_it_knows(copy: Run) -> None:
    for name in ("report.html", "report.json"):
        (copy.path / name).unlink()
    report(copy.path)
    assert sections_of(copy) >= {"curves", "confusion", "classes"}
