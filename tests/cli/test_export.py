from __future__ import annotations

import json
from pathlib import Path

import pytest

from convsmith.bundle.format import read_manifest
from convsmith.cli.main import main
from convsmith.deploy.formats import list_formats
from tests.exports import write_colours, write_run
from tests.stripes import write_stripes


def command(*arguments: object) -> int:
    with pytest.raises(SystemExit) as ended:
        main([str(argument) for argument in arguments])
    assert isinstance(ended.value.code, int)
    return ended.value.code


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_colours(tmp_path_factory.mktemp("data") / "colours")


def test_it_says_what_was_written_and_how_near_it_is(
    tmp_path: Path, colour_bundle: Path, data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert command("export", colour_bundle, "--format", "onnx", "--out", out, "--data", data) == 0
    first, second, third = capsys.readouterr().out.splitlines()
    assert first == f"{out}: onnx, 0.0 MB, made of the onnx model"
    assert second == "on 12 images: logits differ by 0 at most, 0 on average; the same class for 100.00%"
    assert third == "top-1 100.00%, of the onnx model 100.00%"


def test_help_lists_the_formats(capsys: pytest.CaptureFixture[str]) -> None:
    assert command("export", "--help") == 0
    assert ",".join(list_formats()) in "".join(capsys.readouterr().out.split())


def test_a_format_may_be_written_in_any_case(
    tmp_path: Path, colour_bundle: Path, data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command("export", colour_bundle, "--format", "ONNX", "--out", tmp_path / "out", "--data", data) == 0
    assert ": onnx, " in capsys.readouterr().out
    assert read_manifest(tmp_path / "out").format == "onnx"


def test_json_has_all_figures(
    tmp_path: Path, colour_bundle: Path, data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ("--format", "onnx", "--out", tmp_path / "out", "--data", data, "--images", 5, "--json")
    assert command("export", colour_bundle, *options) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["parity"]["images"] == 5
    assert (report["format"], report["path"]) == ("onnx", str(tmp_path / "out"))


def test_a_segmentation_may_be_fixed_to_a_size(
    tmp_path: Path, pixel_bundle: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    streets = write_stripes(tmp_path / "stripes", "train", [("red", "blue"), ("green", "red")])
    options = ("--format", "onnx", "--out", tmp_path / "out", "--data", streets)
    assert command("export", pixel_bundle, *options, "--size", "9x15") == 0
    assert "mIoU" in capsys.readouterr().out
    assert command("export", pixel_bundle, *options, "--size", "9") == 2
    assert "--size 9 is not a size" in capsys.readouterr().err


def test_code_of_a_bundle_runs_only_when_that_is_allowed(
    tmp_path: Path, data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_run(tmp_path / "run")
    out = tmp_path / "out"
    assert command("export", tmp_path / "run", "--format", "torchscript", "--out", out, "--data", data) == 0
    for words in (("evaluate", out, "--data", data), ("benchmark", out, "--batch", 1, "--seconds", 0.01)):
        assert command(*words) == 2
        assert "may hold code: a torchscript file runs with your rights" in capsys.readouterr().err
        assert command(*words, "--allow-code") == 0
    assert command("benchmark", out, "--runtimes", "onnxruntime", "--batch", 1) == 2
    assert "onnxruntime cannot run this bundle" in capsys.readouterr().err
    assert command("predict", out, data / "red" / "0.png") == 2
    assert "prediction runs onnx and openvino" in capsys.readouterr().err
