"""--device and --runtime of the commands that run a bundle."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from convsmith.cli.main import main
from tests.colours import LABELS, picture, write_colour_bundle
from tests.fake_devices import CPU, CUDA, TENSORRT, Providers


def run(*words: str | Path) -> int | str | None:
    with pytest.raises(SystemExit) as ended:
        main([*map(str, words)])
    return ended.value.code


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    for colour in LABELS:
        (tmp_path / "photos" / colour).mkdir(parents=True)
        (tmp_path / "photos" / colour / "a.png").write_bytes(picture(colour))
    return tmp_path / "photos"


def test_predict_says_in_each_line_what_ran(
    colour_bundle: Path, photos: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    Providers(monkeypatch, [TENSORRT, CUDA, CPU])
    assert run("predict", colour_bundle, photos, "--json", "--device", "cuda", "--runtime", "tensorrt") == 0
    answers = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [answer["meta"]["provider"] for answer in answers] == [TENSORRT] * 3
    assert run("predict", colour_bundle, photos, "--json") == 0
    answers = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [answer["meta"]["device"] for answer in answers] == ["cuda"] * 3


def test_evaluate_says_what_ran(
    colour_bundle: Path, photos: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    Providers(monkeypatch, [CUDA, CPU])
    assert run("evaluate", colour_bundle, "--data", photos, "--device", "cuda", "--json") == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["top1"], report["meta"]["device"]) == (1.0, "cuda")


def test_benchmark_takes_a_runtime_by_either_name(colour_bundle: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for option in ("--runtime", "--runtimes"):
        words = option, "onnxruntime", "--device", "cpu", "--batch", "1", "--seconds", "0.01", "--json"
        assert run("benchmark", colour_bundle, *words) == 0
        rows = json.loads(capsys.readouterr().out)["rows"]
        assert {(row["runtime"], row["device"]) for row in rows} == {("onnxruntime", "cpu")}


@pytest.mark.parametrize("command", ["predict", "evaluate", "benchmark", "serve"])
def test_a_device_that_there_is_none_of_is_an_error_with_a_suggestion(
    colour_bundle: Path, photos: Path, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    more: dict[str, list[str | Path]] = {"predict": [photos], "evaluate": ["--data", photos], "serve": ["--port", "0"]}
    assert run(command, colour_bundle, *more.get(command, []), "--device", "cudda") == 2
    error = capsys.readouterr().err
    assert "there is no device `cudda`; did you mean `cuda`?" in error
    assert "cpu" in error


def test_a_format_with_a_device_of_its_own_stays_there(
    tmp_path: Path, photos: Path, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("torch")
    bundle = write_colour_bundle(tmp_path / "b", {"model.pt2": b"no program"}, format="pt2")
    assert run("evaluate", bundle, "--data", photos, "--allow-code", "--device", "cuda") == 2
    assert "the device cuda is not used: a pt2 file runs on cpu" in caplog.messages
    assert "the pt2 file cannot be loaded" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["predict", "evaluate", "benchmark", "serve"])
def test_the_help_names_the_devices(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(command, "--help") == 0
    text = " ".join(capsys.readouterr().out.split())
    assert "--device" in text
    assert "auto, cpu, gpu, cuda" in text
    assert "--runtime" in text
