"""The sections of a report word by word, from facts alone."""

from __future__ import annotations

import json
import re
from html import unescape
from pathlib import Path
from typing import Any

import pytest

from convsmith.analyze.benchmark import Benchmark, Timing
from convsmith.analyze.report import model_parts
from convsmith.analyze.report.curves import training_charts
from convsmith.analyze.report.facts import Facts, JudgedFacts, Picture, StepFacts, WorstImage
from convsmith.analyze.report.figures import (
    between,
    cards,
    class_table,
    draw_all,
    figures_of_validation,
    final_figures,
)
from convsmith.analyze.report.gallery import gallery
from convsmith.analyze.report.in_time import _missing
from convsmith.analyze.report.ladder import facts_of_ladder, ladder_part
from convsmith.bundle.figures.chart import Chart
from convsmith.bundle.figures.evaluation import Evaluation
from convsmith.errors import ConvsmithError
from tests.deploy.test_forms import not_timed, quantization


def rows_of(page: str) -> list[list[str]]:
    """The cells of all tables as text, row by row."""
    rows = re.findall(r"<tr>(.*?)</tr>", page)
    return [[unescape(cell) for cell in re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row)] for row in rows]


def evaluation(**changes: Any) -> Evaluation:
    """Evaluation of 1,234 images of three classes, of which one has none."""
    values: dict[str, Any] = {
        "images": 1234,
        "held_out": True,
        "is_part": True,
        "figures": {"top1": 0.875, "loss": 0.25, "top5": None},
        "labels": ("a", "b", "c"),
        "classes": {"per_class": (0.9, 0.5, None), "support": (1000, 234, 0)},
        "confusion": ((900, 100, 0), (0, 117, 117), (0, 0, 0)),
        "unreadable": (),
        "intervals": {"top1": (0.85, 0.9)},
    }
    return Evaluation(**(values | changes))


def test_final_figures_have_their_intervals_and_say_of_which_images_they_are() -> None:
    page = final_figures(evaluation(unreadable=("a.png: damaged",)))
    assert page.startswith(
        "<p>1,234 images that the training held out. 1 image could not be judged. "
        "An interval holds the figure of other images of the kind with 95 % certainty.</p>\n"
    )
    assert rows_of(page) == [
        ["figure", "value", "95 % interval"],
        ["top-1", "87.50 %", "85.00 to 90.00"],
        ["loss", "0.2500", ""],
    ]
    plain = final_figures(evaluation(held_out=False, intervals={}))
    assert plain.startswith("<p>1,234 images that were given.</p>\n")
    assert rows_of(plain)[0] == ["figure", "value"]


def test_figures_of_validation_that_are_shares_of_images_have_wilson_s_interval() -> None:
    page = figures_of_validation({"top1": 0.5, "top3": 1.0, "miou": 0.25}, 100)
    assert page.startswith("<p>100 images for validation. An interval")
    assert rows_of(page)[1:] == [
        ["top-1", "50.00 %", "40.38 to 59.62"],
        ["top-3", "100.00 %", "96.30 to 100.00"],
        ["mIoU", "25.00 %", ""],
    ]
    assert figures_of_validation({"top1": 0.5}, None).startswith("<p>Measured on the images for validation.</p>\n")
    assert figures_of_validation({}, 100) == ""


def test_an_interval_is_said_without_percents() -> None:
    assert (between("top1", (0.5, 1.0)), between("loss", (0.5, 1.0)), between("top1", None)) == (
        "50.00 to 100.00",
        "0.5000 to 1.0000",
        "",
    )


def test_the_worst_class_comes_first_and_classes_without_images_last() -> None:
    it = evaluation()
    page = class_table(it.labels, it.classes, it.confusion)
    assert page.startswith("<p>The lowest recall first; a column's title sorts by it.</p>\n")
    assert 'class="wide tall sorts"' in page
    found = rows_of(page)
    assert [row[0] for row in found] == ["class", "b", "a", "c"]
    assert found[0] == ["class", "said instead", "recall", "support"]
    assert found[1][2:] == ["50.00 %", "234"]
    assert found[3][1:] == ["", "", "0"]
    assert page.count('<td class="number">') == 2 * 3
    assert rows_of(class_table(it.labels, it.classes, None))[2] == ["a", "90.00 %", "1,000"]


def test_classes_of_which_only_counts_are_known_are_sorted_by_these() -> None:
    assert [row[0] for row in rows_of(class_table(("a", "b"), {"support": (9, 3)}, None))] == ["class", "b", "a"]


def test_large_figures_have_words_below() -> None:
    assert cards({"a<": ("1", "of b")}) == (
        '<dl class="cards"><div class="card figure"><dt>a&lt;</dt><dd><strong>1</strong>'
        '<span class="quiet">of b</span></dd></div></dl>\n'
    )


def test_each_of_several_charts_has_ids_of_its_own() -> None:
    assert draw_all([], "x") == ""
    page = draw_all([Chart(title, "", "", {"line": ((0, 1), (0, 1))}) for title in "ab"], "x")
    ids = re.findall(r' id="([^"]+)"', page)
    assert len(ids) == len(set(ids)) >= 2
    assert page.startswith('<div class="grid broad">')


SAID = {
    "true": "cat",
    "predicted": "dog",
    "probability": 0.5,
    "pixels": 1000,
    "labels": ["a", "b"],
    "none": [],
    "right": False,
}


def test_the_worst_images_have_their_pictures_words_and_nearest_training_images() -> None:
    one, other = Picture("image", "data:1"), Picture("heat", "data:2")
    worst = (
        WorstImage("a.png", 9.0, SAID, (one, other), (Picture("cat", "data:3"),)),
        WorstImage("b.png", 8.0, {"true": ""}, (one,)),
    )
    page = gallery(JudgedFacts(evaluation(images=1), (), worst, (("sky<", "#fff"),)), "held out")
    assert page.startswith("<p>The highest loss first, of 1 image held out.</p>\n")
    assert '<li><span class="swatch" style="background: #fff"></span>sky&lt;</li>' in page
    assert re.findall(r"<dt>(.*?)</dt><dd>(.*?)</dd>", page) == [
        ("true", "cat"), ("predicted", "dog"), ("probability", "50.00 %"), ("pixels", "1,000"), ("labels", "a, b"),
        ("none", "none"),
    ]  # fmt: skip
    assert page.count('class="card worst several"') == page.count('class="card worst"') == 1
    assert '<div class="grid broad">' in page
    assert re.findall(r'alt="(.*?)"', page) == ["image: a.png", "heat: a.png", "training image, cat", "image: b.png"]
    assert page.count("<small>image</small>") == 1
    assert page.count("most like these training images") == 1
    assert '<div class="grid">' in gallery(JudgedFacts(evaluation(), (), worst), "")
    assert gallery(JudgedFacts(evaluation()), "") == ""


def test_what_was_not_done_for_want_of_time_is_said_with_the_command_for_all() -> None:
    facts = Facts("t", "run", "p", "classification", "top1", commands=("a", "convsmith report"))
    part = JudgedFacts(evaluation())
    speed = benchmark((), 1)
    assert _missing(Facts(**{**vars(facts), "sample": part}), 5000) == [
        "The end of a training takes little time: 1,234 of 5,000 validation images are judged here and the speed is "
        "not measured. All of it: convsmith report"
    ]
    assert _missing(facts, 5) == [
        "The end of a training takes little time: the speed is not measured. All of it: convsmith report"
    ]
    assert _missing(Facts(**{**vars(facts), "benchmark": speed}), 5) == []


METRICS = [
    {"split": "train", "epoch": 1, "loss": 2.0, "grad_norm": 0.5, "images_per_second": 100.0},
    {"split": "val", "epoch": 1, "loss": 1.5, "top1": 0.5, "ema_top1": 0.25, "other": 1.0},
    {"split": "train", "epoch": 2, "loss": 1.0, "grad_norm": None, "images_per_second": 200.0},
    {"split": "val", "epoch": 2, "loss": 0.5, "top1": 0.75, "ema_top1": 0.5, "other": 2.0},
]


def test_the_course_of_a_training_is_drawn_as_far_as_it_was_recorded() -> None:
    charts = training_charts(METRICS, {"lr": [0.0, 0.1, 0.2, 0.3], "steps_per_epoch": 2}, ["top1"])
    both = (1.0, 2.0)
    assert [(it.title, it.across, it.up, dict(it.lines)) for it in charts] == [
        ("Loss", "epoch", "loss", {"training": (both, (2.0, 1.0)), "validation": (both, (1.5, 0.5))}),
        ("Metrics", "epoch", "validation images", {"top-1": (both, (0.5, 0.75)), "ema top1": (both, (0.25, 0.5))}),
        ("Learning rate", "epoch", "rate of a step", {"rate": ((0.0, 0.5, 1.0, 1.5), (0.0, 0.1, 0.2, 0.3))}),
        ("Speed", "epoch", "training images a second", {"images/s": (both, (100.0, 200.0))}),
    ]
    assert charts[0].note == "The training loss is of augmented images, while the weights change."
    (loss,) = training_charts([METRICS[0], METRICS[2]], {}, [])[:1]
    assert (list(loss.lines), loss.note) == (["training"], "")
    assert training_charts(METRICS[:2], {"lr": [0.1]}, ["top1"]) == []


def test_the_speed_is_of_whole_batches() -> None:
    rows = (Timing("b", "onnx", "onnxruntime", "inference", 8, 99, 1.5, 2.0, 2.5, 5333.333, "cuda"),)
    page = model_parts.speed_part(benchmark(rows, 1))
    assert page.startswith("<p>synthetic; 1 thread for inference, 1 for the rest; times are of a whole batch.</p>\n")
    assert rows_of(page)[0] == ["bundle", "runtime", "stage", "batch", "ms (median)", "ms (99 %)", "images/s"]
    assert page.count('<th scope="col" class="number">') == 4
    assert "2 threads for inference" in model_parts.speed_part(benchmark(rows, 2))
    assert model_parts.speed_part(None) == ""


def test_the_int8_form_has_a_time_where_that_was_measured() -> None:
    timed, plain = (model_parts.int8_part(made) for made in (quantization(), not_timed()))
    assert [row[1:3] for row in rows_of(timed)] == [["MB", "ms of an image"], ["2.00", "3.00"], ["0.50", "1.25"]]
    assert [row[1:3] for row in rows_of(plain)] == [["MB", "top-1"], ["2.00", "90.00 %"], ["0.50", "87.50 %"]]
    assert "2.4 times as fast" in timed
    assert "times as fast" not in plain
    assert model_parts.int8_part(None) == ""


def test_the_proof_names_each_figure_in_words() -> None:
    page = model_parts.proof_part(
        {"parity": {"max_abs_diff": 0.123456, "images": 8, "web": {"browser": "C"}, "a": None}}
    )
    assert rows_of(page)[1:] == [["max abs diff", "0.1235"], ["images", "8"], ["web, browser", "C"], ["a", "null"]]
    assert page.startswith("<p>The exported model was compared with the trained one on real images")
    assert model_parts.proof_part({}) == model_parts.proof_part({"parity": {}}) == ""


def test_settings_commands_seconds_and_machine_have_their_tables() -> None:
    assert model_parts.settings_part({}) == model_parts.commands_part(()) == model_parts.seconds_part({"a": 0.0}) == ""
    assert model_parts.commands_part(("a <b>", "c")) == (
        '<pre tabindex="0" role="region" aria-label="Commands, as text">a &lt;b&gt;\nc</pre>\n'
    )
    assert "batch: {size: 8}\nseed: 0</pre>" in model_parts.settings_part({"batch": {"size": 8}, "seed": 0})
    assert rows_of(model_parts.seconds_part({"train": 1234.56, "export": 0.0})) == [
        ["stage", "seconds"],
        ["train", "1,234.6"],
    ]
    page = model_parts.environment_part({"system": "S"}, {"created_with": {"torch": "2", "onnx": "1"}})
    assert rows_of(page)[1:] == [["bundle made with", "torch 2, onnx 1"], ["report made on: system", "S"]]
    assert rows_of(model_parts.environment_part({"system": "S"}, {}))[1:] == [["report made on: system", "S"]]
    assert model_parts.pairs("x", {"a": ""}) == ""


def row(step: str, **figures: Any) -> dict[str, Any]:
    """A row of ablation.json."""
    usual: dict[str, Any] = {
        "last": 0.5,
        "best": 0.75,
        "gain": None,
        "total_gain": None,
        "minutes": 12.34,
        "errors": {},
    }
    measured = {**usual, **figures} if figures else None
    return {"step": step, "changes": {"optimizer.lr": 0.1, "ema": None}, "measured": measured, "error": None}


HEAD = ["step", "changes", "top-1", "95 % interval", "points to the step before", "to the first"]


def ladder(folder: Path, metric: str, *rows: dict[str, Any]) -> Facts:
    """The facts of a ladder whose results are these."""
    results = {"metric": metric, "rows": rows, "ladder": "l", "description": "d", "overrides": ["a=1", "b=2"]}
    (folder / "ablation.json").write_text(json.dumps(results))
    return facts_of_ladder(folder)


def test_a_ladder_is_a_table_of_its_steps_with_what_each_gains(tmp_path: Path) -> None:
    failed = {**row("three"), "error": "no memory"}
    gained = row("two", gain=0.125, total_gain=-0.0625, errors={"last": 0.25})
    facts = ladder(tmp_path, "top1", row("one", last=0.5), gained, failed, row("four"))
    assert (facts.title, facts.kind, facts.metric, facts.task) == ("The ladder l", "ladder", "top1", "")
    assert facts.description == "d (all steps with a=1 b=2)"
    parts = ladder_part(facts)
    changes = "optimizer.lr=0.1, ema=null"
    assert rows_of(parts["Steps"])[:5] == [
        [
            "step",
            "changes",
            "top-1",
            "95 % interval",
            "points to the step before",
            "to the first",
            "best epoch",
            "minutes",
        ],
        ["one", changes, "50.00 %", "", "", "", "75.00 %", "12.3"],
        ["two", changes, "50.00 %", "0.00 to 100.00", "+12.50", "-6.25", "75.00 %", "12.3"],
        ["three", changes, "failed", "no memory", "", "", "", ""],
        ["four", changes, "not finished", "", "", "", "", ""],
    ]
    assert parts["Steps"].startswith("<p>Means over the folds.</p>\n")
    assert parts["Curves"] == ""


def test_one_run_of_each_step_may_be_chance_and_losses_are_no_percents(tmp_path: Path) -> None:
    parts = ladder_part(ladder(tmp_path, "loss", row("one", last=0.5, best=0.25, gain=0.125, total_gain=0.5)))
    assert parts["Steps"].startswith("<p>One run of each step: a gain of a few tenths may be chance.</p>\n")
    assert rows_of(parts["Steps"])[1][2:] == ["0.5000", "", "+0.1250", "+0.5000", "0.2500", "12.3"]


def test_the_interval_of_a_step_is_that_of_its_folds_or_of_the_images_that_judged_it() -> None:
    from convsmith.analyze.report.ladder import _curves, _interval, _levels

    folds = StepFacts("s", (), {"last": 0.5, "errors": {"last": 0.01}}, None, ((((1.0,), (0.5,)),) * 3))
    low, high = _interval("top1", folds) or (0, 0)
    assert (low, high) == pytest.approx((0.5 - 0.04303, 0.5 + 0.04303), abs=1e-5)  # 4.303 standard errors of three
    judged = StepFacts("s", (), {"last": 0.5}, None, (), evaluation())
    assert _interval("top1", judged) == (0.85, 0.9)
    assert _interval("loss", StepFacts("s", (), {"last": 9.0, "errors": {"last": 1.0}}, None))[1] > 9  # type: ignore[index]
    assert _interval("top1", StepFacts("s", (), None, None, (), evaluation())) is None
    facts = Facts("", "ladder", "", "", "top1", steps=(folds, judged, StepFacts("none", (), None, "x")))
    chart = _levels(facts)
    assert (chart.title, chart.across, chart.up) == ("Level of each step", "step, as in the table", "top-1")
    assert {name: line[0] for name, line in chart.lines.items()} == dict.fromkeys(
        ["top-1", "95 % interval from", "to"], (1.0, 2.0)
    )
    assert (chart.lines["95 % interval from"][1][1], chart.lines["to"][1][1]) == (0.85, 0.9)
    (curves,) = _curves(facts)
    assert list(curves.lines) == ["s 0", "s 1", "s 2"]
    assert curves.title == "top-1 of the validation images"
    assert _curves(Facts("", "ladder", "", "", "top1", steps=(judged,))) == []


@pytest.mark.parametrize("text", ["", "[]", '{"metric": 1}', '{"metric": "top1", "rows": [{}]}'])
def test_results_that_cannot_be_read_are_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "ablation.json").write_text(text)
    with pytest.raises(ConvsmithError, match=r"ablation\.json cannot be read(.|\n)*Run `convsmith ablate` again"):
        facts_of_ladder(tmp_path)


def benchmark(rows: tuple[Any, ...], threads: int) -> Benchmark:
    """Measurements with so many threads."""
    return Benchmark(threads, "synthetic", rows, ())
