from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from convsmith.analyze.benchmark import benchmark
from convsmith.cli.main import main
from convsmith.errors import ConvsmithError
from convsmith.jobs.export import export
from convsmith.spec import Preprocess
from tests.colours import LABELS, colour_model, picture, write_colour_bundle
from tests.fake_devices import CPU, CUDA, Providers
from tests.stripes import write_stripes

STAGES = ["decode", "preprocess", "inference", "all"]


def test_each_stage_of_each_runtime_and_batch_has_its_figures(colour_bundle: Path) -> None:
    pytest.importorskip("openvino")
    told: list[tuple[str, int, int | None]] = []
    report = benchmark(
        [colour_bundle],
        ["onnxruntime", "openvino"],
        [1, 3],
        seconds=0.01,
        threads=1,
        progress=lambda *it: told.append(it),
    )
    assert [(row.runtime, row.batch, row.stage) for row in report.rows] == [
        (runtime, batch, stage) for runtime in ("onnxruntime", "openvino") for batch in (1, 3) for stage in STAGES
    ]
    for row in report.rows:
        assert 0 < row.p50 <= row.p90 <= row.p99
        assert row.images_per_second > 0
        assert row.runs >= 10
    assert report.threads == 1
    assert told == [(f"{colour_bundle} in {name}", done, 2) for name in ("onnxruntime", "openvino") for done in (0, 1)]


def test_a_bundle_is_measured_in_its_own_runtime(pixel_bundle: Path) -> None:
    report = benchmark([pixel_bundle], (), [2], seconds=0.01)
    assert {(row.format, row.runtime) for row in report.rows} == {("onnx", "onnx")}


@pytest.mark.parametrize("kind", [str, Path])
def test_one_bundle_needs_no_list(kind: Callable[[Path], str | Path], colour_bundle: Path) -> None:
    rows = benchmark(kind(colour_bundle), (), [1], seconds=0.01).rows
    assert {row.bundle for row in rows} == {str(colour_bundle)}


def test_a_row_says_which_device_ran(colour_bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Providers(monkeypatch, [CUDA, CPU])
    rows = benchmark([colour_bundle], ["onnxruntime", "torch"], [1], seconds=0.01, device="gpu").rows
    assert {(row.where, row.device) for row in rows} == {("onnxruntime on cuda", "cuda")}
    with pytest.raises(ConvsmithError, match="there is no device `cudaa`"):
        benchmark([colour_bundle], device="cudaa")


def test_torch_is_the_architecture_in_eager_mode(tmp_path: Path) -> None:
    spec, info = Preprocess(resize=32, crop=32), {"name": "cifar_resnet20", "options": {}}
    bundle = write_colour_bundle(tmp_path / "b", colour_model(side=32), model_info=info, preprocess=spec)
    assert {row.runtime for row in benchmark([bundle], ["torch"], [1], seconds=0.01).rows} == {"torch"}


def test_own_images_take_turns_and_those_of_a_segmentation_have_one_size(tmp_path: Path, pixel_bundle: Path) -> None:
    for number, size in enumerate([(20, 16), (9, 9), (20, 16)]):
        (tmp_path / f"{number}.png").write_bytes(picture(LABELS[number], size=size))
        (tmp_path / f"._{number}.png").write_bytes(b"of a Mac")
    report = benchmark([pixel_bundle], (), [4], images=tmp_path, seconds=0.01)
    assert report.images == f"3 images of {tmp_path}"
    with pytest.raises(ConvsmithError, match="there are no images in"):
        benchmark([pixel_bundle], (), [1], images=pixel_bundle, seconds=0.01)


@pytest.mark.parametrize("size", [(8, 40), (400, 600)])
def test_a_bundle_for_one_size_is_measured_in_a_window_of_it(
    tmp_path: Path, pixel_bundle: Path, size: tuple[int, int]
) -> None:
    data = write_stripes(tmp_path / "data", "train", [("red", "green")])
    export(pixel_bundle, "onnx", tmp_path / "fixed", data, size=size)
    assert [row.stage for row in benchmark([tmp_path / "fixed"], (), [2], seconds=0.01).rows] == STAGES


def test_a_runtime_that_does_not_take_a_bundle_is_named(tmp_path: Path, colour_bundle: Path) -> None:
    other = write_colour_bundle(tmp_path / "b", {"model.ts": b"no program"}, format="torchscript")
    with pytest.raises(ConvsmithError, match="onnxruntime cannot run this bundle: its format is torchscript"):
        benchmark([colour_bundle, other], ["onnxruntime"], [1], seconds=0.01)
    with pytest.raises(ConvsmithError, match="there is no runtime `onnx`"):
        benchmark([colour_bundle], ["onnx"], [1], seconds=0.01)
    report = benchmark([colour_bundle], ["torch", "onnxruntime"], [1], seconds=0.01)
    assert {row.runtime for row in report.rows} == {"onnxruntime"}
    (line,) = report.left_out
    assert "unknown model `colour`" in line


def test_the_rows_of_others_stay_where_torch_is_missing(colour_bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "convsmith.deploy.onnx_export", raising=False)
    monkeypatch.setitem(sys.modules, "torch", None)
    report = benchmark([colour_bundle], ["onnxruntime", "torch"], [1], seconds=0.01)
    assert {row.runtime for row in report.rows} == {"onnxruntime"}
    (line,) = report.left_out
    assert "in torch: the runtime torch needs the package `torch`" in line


def test_the_command_prints_a_table_or_json(colour_bundle: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = [str(colour_bundle), "--batch", "1,2", "--seconds", "0.01", "--threads", "1"]
    with pytest.raises(SystemExit) as ended:
        main(["benchmark", *options])
    assert ended.value.code == 0
    printed = capsys.readouterr().out
    assert "p99 ms" in printed
    assert "threads: 1 for inference" in printed
    with pytest.raises(SystemExit):
        main(["benchmark", *options, "--json"])
    report = json.loads(capsys.readouterr().out)
    assert [row["stage"] for row in report["rows"]] == 2 * STAGES
    assert report["threads"] == 1


@pytest.mark.parametrize("batch", ["0", "a", "1,,2"])
def test_a_batch_that_is_no_number_is_one_clear_error(
    colour_bundle: Path, capsys: pytest.CaptureFixture[str], batch: str
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["benchmark", str(colour_bundle), "--batch", batch])
    assert ended.value.code == 2
    assert f"--batch {batch} is not a list of numbers" in capsys.readouterr().err
