"""From a folder of images to a measured bundle, each stage once."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from html import escape
from pathlib import Path

import pytest

from convsmith.analyze import chosen
from convsmith.analyze.report import make_report
from convsmith.analyze.report.make_report import report
from convsmith.cli.main import main
from convsmith.deploy.static_int8 import NoInt8
from convsmith.errors import ConvsmithError
from convsmith.jobs import make as module
from convsmith.jobs.make import Made, make
from tests.training.conftest import SMALL


@pytest.fixture(scope="module", autouse=True)
def short_benchmarks() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(make_report, "_SECONDS", 0.001)
        patch.setenv("CONVSMITH_OFFLINE", "1")  # where a recipe is chosen
        yield


@pytest.fixture(scope="module")
def made(digits: Path, tmp_path_factory: pytest.TempPathFactory) -> Made:
    return make(digits, tmp_path_factory.mktemp("runs") / "made", SMALL)


def state(folder: Path) -> dict[Path, tuple[int, int]]:
    return {path: (path.stat().st_mtime_ns, path.stat().st_ino) for path in folder.rglob("*")}


def test_all_stages_leave_what_they_made_in_the_run(made: Made) -> None:
    assert made.choice.reasons[0] == "48 training images in 4 classes of 12 to 12"
    assert (made.run / "bundle").is_dir()
    assert made.bundle.is_dir()
    assert set(made.seconds) == {"train", "evaluate", "quantize", "benchmark"}
    assert {row.bundle for row in made.benchmark.rows} >= {str(made.run / "bundle")}
    report, told = json.loads((made.run / "report.json").read_text()), json.loads(json.dumps(made.to_dict()))
    assert {key: report.get(key) for key in told} == {**told, "commands": report["commands"], "run": None}


def test_the_next_commands_predict_serve_and_export_the_recommended_bundle(made: Made) -> None:
    predict, serve, export = (command.split() for command in made.commands)
    assert predict[:3] == ["convsmith", "predict", str(made.bundle)]
    assert Path(predict[3]).is_file()
    assert serve == ["convsmith", "serve", str(made.bundle)]
    assert export[:3] == ["convsmith", "export", str(made.bundle)]


def test_speed_is_that_of_the_images_that_are_judged(made: Made, digits: Path) -> None:
    assert made.benchmark.images == f"5 images of {digits / 'val' / '0'}"


def test_a_second_call_changes_nothing_and_says_the_same(made: Made, digits: Path) -> None:
    before = state(made.run)
    assert make(digits, made.run, SMALL) == made
    assert state(made.run) == before


def test_the_command_says_what_it_chose_and_what_comes_next(
    made: Made, digits: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["make", str(digits), "--out", str(made.run), *SMALL])
    assert not ended.value.code
    printed = capsys.readouterr()
    assert made.choice.reasons[0] in printed.err
    assert all(command in printed.out for command in made.commands)


def test_what_was_done_before_a_call_was_killed_is_not_done_again(
    made: Made, digits: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("done before")

    run = shutil.copytree(made.run, tmp_path / "run", symlinks=True)
    for name in ("stages/benchmark.json", "report.json", "report.html"):  # killed in the benchmark
        (run / name).unlink()
    monkeypatch.setattr(chosen, "choose_recipe", refuse)
    for stage in ("train", "judge_bundle", "quantize"):
        monkeypatch.setattr(module, stage, refuse)
    again = make(digits, run, SMALL)
    assert (again.evaluation, again.int8) == (made.evaluation, made.int8)
    assert again.report.is_file()


def test_an_int8_bundle_that_was_lost_is_made_again(made: Made, digits: Path, tmp_path: Path) -> None:
    run = shutil.copytree(made.run, tmp_path / "run", symlinks=True)
    shutil.rmtree(run / "bundle-int8")
    int8 = make(digits, run, SMALL).int8
    assert int8.report is not None
    assert made.int8.report is not None
    assert int8.report.drop == made.int8.report.drop


def test_a_run_of_other_words_is_told_apart(made: Made, digits: Path) -> None:
    with pytest.raises(ConvsmithError, match="finished run of another recipe"):
        make(digits, made.run, [*SMALL, "seed=1"])


def test_without_a_good_int8_form_the_float_bundle_is_recommended(made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise NoInt8("no INT8 form of this model loses less than 0.1 points", "it loses 3.00")

    monkeypatch.setattr(module, "quantize", refuse)
    int8 = module._quantized(made.run / "bundle", made.data, made.int8_bundle, lambda *_: None)
    assert (int8.report, int8.recommended) == (None, False)
    assert "it loses 3.00" in int8.verdict
    assert replace(made, int8=int8).bundle == made.run / "bundle"


@pytest.mark.parametrize(
    ("drop", "speed", "recommended", "verdict"),
    [
        (0.05, 2.0, True, "the INT8 bundle: it loses 0.05 points of the validation images and is 2.0 times as fast"),
        (-1.0, 2.0, True, "the INT8 bundle: it loses 0.00 points of the validation images and is 2.0 times as fast"),
        (
            0.5,
            2.0,
            False,
            "the float bundle, not INT8: it loses 0.50 points of the validation images, and 0.1 are allowed",
        ),
        (0.0, 0.5, False, "the float bundle, not INT8, which takes 2.0 times as long"),
        (0.0, 1.0, False, "the float bundle, not INT8, which takes 1.0 times as long"),
        (0.1, 2.0, True, "the INT8 bundle: it loses 0.10 points of the validation images and is 2.0 times as fast"),
    ],
)
def test_int8_is_recommended_if_it_is_as_accurate_and_faster(
    drop: float, speed: float, recommended: bool, verdict: str, made: Made, monkeypatch: pytest.MonkeyPatch
) -> None:
    report = made.int8.report
    assert report is not None
    slow, fast = (replace(report.float_model, latency_ms=ms) for ms in (speed, 1.0))
    report = replace(report, drop=drop, float_model=slow, int8_model=fast)
    monkeypatch.setattr(module, "quantize", lambda *_, **__: report)
    int8 = module._quantized(made.run / "bundle", made.data, made.int8_bundle, lambda *_: None)
    assert (int8.recommended, int8.verdict) == (recommended, verdict)


def test_the_page_holds_the_figures_what_is_recommended_and_the_next_commands(made: Made) -> None:
    text = made.report.read_text()
    assert f"{100 * made.evaluation.top1:.2f} %" in text
    assert escape(made.int8.verdict) in text
    assert all(escape(command) in text for command in made.commands)
    for section in ("recommended", "float-against-int8", "speed-on-this-machine", "worst-errors", "curves"):
        assert f'<section id="{section}">' in text


def test_a_run_reports_on_the_classes_by_its_own_validation(made: Made, tmp_path: Path) -> None:
    facts = report(made.run, out=tmp_path / "run.html")
    assert facts.validation is not None
    assert facts.validation["confusion"] == [list(row) for row in made.evaluation.confusion]
    page = (tmp_path / "run.html").read_text("utf-8")
    assert all(f'<section id="{it}">' in page for it in ("curves", "confusion", "classes", "proof-of-the-export"))


@pytest.mark.slow
def test_a_call_that_is_killed_in_every_stage_comes_to_the_same_end(made: Made, digits: Path, tmp_path: Path) -> None:
    run, command = tmp_path / "run", [sys.executable, "-m", "convsmith", "make", str(digits)]
    command += ["--out", str(run), *SMALL]
    for sign in ("checkpoints/step-00000006", "bundle", "stages/evaluate.json", "stages/quantize.json"):
        with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
            deadline = time.monotonic() + 120
            while not (run / sign).exists() and process.poll() is None and time.monotonic() < deadline:
                time.sleep(0.005)
            process.kill()
        assert (run / sign).exists()
    again = make(digits, run, SMALL)
    seen, expected = again.evaluation, made.evaluation  # their intervals are of fewer draws in the process of a test
    assert (seen.figures, seen.confusion) == (expected.figures, expected.confusion)
    for file in ("bundle/model.onnx", "bundle-int8/model.onnx"):
        assert (run / file).read_bytes() == (made.run / file).read_bytes()
