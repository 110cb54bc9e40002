"""From a run or a bundle to an artefact that is proved, or to nothing."""

from __future__ import annotations

import errno
import json
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from PIL import Image

import convsmith as cs
from convsmith.analyze.evaluate import evaluate_bundle
from convsmith.bundle.format import read_manifest, read_model
from convsmith.bundle.write import Card, write_bundle
from convsmith.deploy import choose_format, speed
from convsmith.deploy.format import Exportable, Files, export_files, find_format
from convsmith.deploy.onnx_export import inference_model
from convsmith.deploy.parity import FLOAT32, INT8, ONE_LEVEL, Tolerance
from convsmith.deploy.quantize import quantize_bundle
from convsmith.errors import ConvsmithError
from convsmith.jobs import export as export_module
from convsmith.models.families.cifar_resnet import CifarResNet
from convsmith.spec import Preprocess, WholeImage
from tests.colours import SIDE as SMALL_SIDE
from tests.colours import colour_model, picture
from tests.exports import write_colours, write_run
from tests.stripes import write_large_stripes, write_stripes


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("runs") / "colours"
    write_run(path)
    return path


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_colours(tmp_path_factory.mktemp("data") / "colours")


@pytest.fixture(scope="module")
def streets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    scenes = [("red", "green", "blue"), ("blue", "red")]
    root = write_stripes(tmp_path_factory.mktemp("data") / "stripes", "train", scenes)
    return write_stripes(root, "val", scenes)


def contents(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


@pytest.mark.parametrize("name", ["onnx", "onnx-fp16", "openvino"])
def test_a_bundle_becomes_a_bundle_with_its_proof(tmp_path: Path, colour_bundle: Path, data: Path, name: str) -> None:
    pytest.importorskip(name if name == "openvino" else "onnx")
    report = cs.export(colour_bundle, name, tmp_path / "out", data)
    manifest, before = read_manifest(tmp_path / "out"), read_manifest(colour_bundle)
    assert manifest.format == name
    assert manifest.parity == report["parity"]
    assert (manifest.parity["made_of"], manifest.parity["images"]) == ("onnx", 12)
    assert manifest.parity["top1"] == manifest.parity["trained_top1"] == manifest.parity["top1_agreement"] == 1.0
    assert (manifest.labels, manifest.preprocess) == (before.labels, before.preprocess)
    assert cs.load(tmp_path / "out").predict(picture("green")).to_dict()["label"] == "green"
    assert evaluate_bundle(tmp_path / "out", data).top1 == 1.0


def test_a_run_becomes_an_artefact_that_evaluate_takes_and_predict_refuses(
    tmp_path: Path, run: Path, data: Path
) -> None:
    report = cs.export(run, "torchscript", tmp_path / "out", data)
    assert report["made_of"] == "torch"
    assert report["parity"]["max_abs_diff"] < 1e-4
    assert report["parity"]["top1"] == report["parity"]["trained_top1"]
    with pytest.raises(ConvsmithError, match="may hold code"):
        cs.evaluate(tmp_path / "out", data)
    assert cs.evaluate(tmp_path / "out", data, allow_code=True).top1 == report["parity"]["top1"]
    with pytest.raises(ConvsmithError, match="format is torchscript"):
        cs.load(tmp_path / "out")


def test_an_artefact_whose_file_was_changed_is_refused(tmp_path: Path, run: Path, data: Path) -> None:
    cs.export(run, "torchscript", tmp_path / "out", data)
    content = bytearray((tmp_path / "out" / "model.ts").read_bytes())
    content[len(content) // 2] ^= 1
    (tmp_path / "out" / "model.ts").write_bytes(content)
    with pytest.raises(ConvsmithError, match=r"model\.ts does not have the SHA-256"):
        evaluate_bundle(tmp_path / "out", data, allow_code=True)
    with pytest.raises(ConvsmithError, match=r"model\.ts does not have the SHA-256"):
        cs.export(tmp_path / "out", "onnx", tmp_path / "more", data)


def test_a_wrong_normalisation_is_caught_and_nothing_is_written(
    tmp_path: Path, run: Path, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(name: str, source: Exportable) -> Files:
        wrong = Preprocess(resize=32, crop=32, mean=(0.5, 0.456, 0.406))
        inner = source.trained.get_submodule("model")
        return export_files(name, Exportable(source.size, False, inference_model(inner, wrong)))

    monkeypatch.setattr(export_module, "export_files", broken)
    with pytest.raises(ConvsmithError, match="the trained one says: on 12 images their logits differ"):
        cs.export(run, "torchscript", tmp_path / "out", data)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        (colour_model(classes=4), r"gives \(4,\) logits for 3 labels"),
        (colour_model(side=9), "cannot run on images of shape"),
    ],
)
def test_an_artefact_of_another_shape_is_caught(
    tmp_path: Path, colour_bundle: Path, data: Path, monkeypatch: pytest.MonkeyPatch, broken: bytes, message: str
) -> None:
    monkeypatch.setattr(export_module, "export_files", lambda *_: {"model.onnx": broken})
    with pytest.raises(ConvsmithError, match=message):
        cs.export(colour_bundle, "onnx", tmp_path / "out", data)
    assert list(tmp_path.iterdir()) == []


def test_without_labels_the_logits_alone_are_compared(tmp_path: Path, colour_bundle: Path, data: Path) -> None:
    (tmp_path / "images").mkdir()
    for label in ("red", "blue"):
        shutil.copy(data / label / "0.png", tmp_path / "images" / f"{label}.png")
    parity = cs.export(colour_bundle, "onnx", tmp_path / "out", tmp_path / "images")["parity"]
    assert parity["images"] == 2
    assert "top1" not in parity


def test_images_that_cannot_be_read_are_left_out(tmp_path: Path, colour_bundle: Path) -> None:
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "a.png").write_bytes(picture("red"))
    (tmp_path / "images" / "b.png").write_bytes(b"no image")
    assert cs.export(colour_bundle, "onnx", tmp_path / "out", tmp_path / "images")["parity"]["images"] == 1
    (tmp_path / "images" / "a.png").unlink()
    with pytest.raises(ConvsmithError, match="cannot be proved: not one image can be read"):
        cs.export(colour_bundle, "onnx", tmp_path / "other", tmp_path / "images")


def test_images_are_taken_evenly_and_counted(tmp_path: Path, colour_bundle: Path, data: Path) -> None:
    seen: list[tuple[str, int, int | None]] = []
    report = cs.export(colour_bundle, "onnx", tmp_path / "o", data, images=9, progress=lambda *it: seen.append(it))
    assert report["parity"]["images"] == 9
    assert seen == [("prove", 8, 9), ("prove", 9, 9)]


def test_triton_gets_a_repository(tmp_path: Path, colour_bundle: Path, data: Path) -> None:
    report = cs.export(colour_bundle, "triton", tmp_path / "my colours", data)
    repository, folder = tmp_path / "my colours", tmp_path / "my colours" / "my-colours"
    assert contents(repository) == [
        "README.md",
        "bundle.json",
        "my-colours/1/model.onnx",
        "my-colours/config.pbtxt",
        "my-colours/labels.txt",
        "my-colours_pixels/1/README.md",
        "my-colours_pixels/config.pbtxt",
        "my-colours_preprocess/1/preprocess.onnx",
        "my-colours_preprocess/config.pbtxt",
    ]
    assert (folder / "labels.txt").read_text() == "red\ngreen\nblue\n"
    config = (folder / "config.pbtxt").read_text()
    assert f'input [ {{ name: "images" data_type: TYPE_UINT8 dims: [3, {SMALL_SIDE}, {SMALL_SIDE}] }} ]' in config
    assert 'output [ { name: "logits" data_type: TYPE_FP32 dims: [3] label_filename: "labels.txt" } ]' in config
    (proof,) = (line for line in config.split("\n") if '"parity"' in line)
    parity = json.loads(json.loads(proof[proof.index("string_value: ") + 14 : -4]))
    assert parity["images"] == 12
    assert report["parity"]["triton"]["images"] == 8
    assert report["parity"]["triton"]["max_abs_diff"] <= 2
    cs.export(colour_bundle, "triton", repository, data)  # an export is replaced


def test_a_triton_model_that_was_changed_by_hand_stays(tmp_path: Path, colour_bundle: Path, data: Path) -> None:
    folder = tmp_path / "models" / "colours"
    cs.export(colour_bundle, "triton", folder, data)
    (folder / "colours" / "config.pbtxt").write_text('backend: "onnxruntime"\n')
    with pytest.raises(ConvsmithError, match="holds something else than an export"):
        cs.export(colour_bundle, "triton", folder, data)
    assert (folder / "colours" / "config.pbtxt").read_text() == 'backend: "onnxruntime"\n'


def test_masks_are_a_triton_model_that_takes_images_as_they_are(
    tmp_path: Path, pixel_bundle: Path, streets: Path
) -> None:
    report = cs.export(pixel_bundle, "triton", tmp_path / "streets", streets)
    assert {it.partition("/")[0] for it in contents(tmp_path / "streets")} == {"README.md", "bundle.json", "streets"}
    assert "dims: [3, -1, -1]" in (tmp_path / "streets" / "streets" / "config.pbtxt").read_text()
    assert "triton" not in report["parity"]


def test_a_triton_model_of_an_earlier_convsmith_is_evaluated(tmp_path: Path, colour_bundle: Path, data: Path) -> None:
    manifest = read_manifest(colour_bundle)
    card = replace(Card.of(manifest), format="triton")
    write_bundle(tmp_path / "old", {"1/model.onnx": read_model(colour_bundle, manifest), "config.pbtxt": b""}, card)
    assert evaluate_bundle(tmp_path / "old", data).top1 == 1.0


@pytest.mark.parametrize("kind", ["triton", "onnx"])
def test_an_export_beside_which_something_lies_stays(
    tmp_path: Path, colour_bundle: Path, data: Path, kind: str
) -> None:
    cs.export(colour_bundle, kind, tmp_path / "out", data)
    (tmp_path / "out" / "2").mkdir()
    (tmp_path / "out" / "2" / "weights.bin").write_bytes(b"mine")
    with pytest.raises(ConvsmithError, match="holds something else than an export"):
        cs.export(colour_bundle, kind, tmp_path / "out", data)
    assert (tmp_path / "out" / "2" / "weights.bin").read_bytes() == b"mine"


def test_a_folder_with_a_bundle_json_of_something_else_stays(tmp_path: Path, colour_bundle: Path, data: Path) -> None:
    (tmp_path / "project").mkdir()
    (tmp_path / "project" / "bundle.json").write_text("{}")
    with pytest.raises(ConvsmithError, match="holds something else than an export"):
        cs.export(colour_bundle, "onnx", tmp_path / "project", data)


def test_a_place_below_a_file_is_said_before_the_work(tmp_path: Path, data: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConvsmithError, match="out cannot be written: Not a directory"):
        cs.export(tmp_path / "no bundle", "onnx", tmp_path / "file" / "out", data)


def test_a_disk_that_is_full_is_one_clear_error(
    tmp_path: Path, colour_bundle: Path, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(self: Path, _content: bytes) -> int:
        raise OSError(errno.ENOSPC, "No space left on device", str(self))

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(ConvsmithError, match="out cannot be written: No space left on device"):
        cs.export(colour_bundle, "onnx", tmp_path / "out", data)
    assert list(tmp_path.iterdir()) == []


def test_a_link_to_an_export_leads_to_the_new_one(tmp_path: Path, colour_bundle: Path, data: Path) -> None:
    cs.export(colour_bundle, "onnx", tmp_path / "real", data)
    (tmp_path / "link").symlink_to("real")
    cs.export(colour_bundle, "onnx-fp16", tmp_path / "link", data)
    assert read_manifest(tmp_path / "real").format == "onnx-fp16"


@pytest.mark.parametrize(
    ("size", "said"), [((0, 512), r"0x512 is not a size: `size\[0\]`"), ((64, 5000), r"size\[1\]")]
)
def test_a_size_that_is_none_is_one_clear_error(
    tmp_path: Path, pixel_bundle: Path, streets: Path, size: tuple[int, int], said: str
) -> None:
    with pytest.raises(ConvsmithError, match=said):
        cs.export(pixel_bundle, "onnx", tmp_path / "out", streets, size=size)


@pytest.mark.parametrize("name", ["torchscript", "pt2", "aotinductor", "executorch", "litert", "coreml"])
def test_opset_is_refused_where_nothing_is_made_of_onnx(tmp_path: Path, run: Path, data: Path, name: str) -> None:
    with pytest.raises(ConvsmithError, match=f"--opset does not go with {name}"):
        cs.export(run, name, tmp_path / "out", data, opset=20)


def test_evaluate_takes_a_triton_model(tmp_path: Path, colour_bundle: Path, data: Path) -> None:
    cs.export(colour_bundle, "triton", tmp_path / "colours", data)
    assert evaluate_bundle(tmp_path / "colours", data).top1 == 1.0


@pytest.mark.parametrize("name", ["colours/1/model.onnx", "colours/config.pbtxt", "colours_pixels/config.pbtxt"])
def test_a_triton_model_whose_file_was_changed_is_refused(
    tmp_path: Path, colour_bundle: Path, data: Path, name: str
) -> None:
    cs.export(colour_bundle, "triton", tmp_path / "colours", data)
    file = tmp_path / "colours" / name
    file.write_bytes(bytes([file.read_bytes()[0] ^ 1]) + file.read_bytes()[1:])
    with pytest.raises(ConvsmithError, match=f"{name} does not have the SHA-256"):
        evaluate_bundle(tmp_path / "colours", data)


def test_a_bundle_of_another_format_is_not_exported(tmp_path: Path, colour_bundle: Path, data: Path) -> None:
    cs.export(colour_bundle, "onnx-fp16", tmp_path / "fp16", data)
    with pytest.raises(ConvsmithError, match=r"is of the format onnx-fp16: .*\n.*the bundle that training wrote"):
        cs.export(tmp_path / "fp16", "onnx", tmp_path / "out", data)
    assert not (tmp_path / "out").exists()


def test_the_proof_of_a_bundle_keeps_that_of_its_source(tmp_path: Path, colour_bundle: Path, data: Path) -> None:
    parity = cs.export(colour_bundle, "onnx", tmp_path / "out", data)["parity"]
    assert parity["source"] == read_manifest(colour_bundle).parity


def test_an_image_too_large_to_be_segmented_is_left_out(
    tmp_path: Path, pixel_bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    streets = write_stripes(tmp_path / "data", "train", [("red", "green"), ("blue", "red")])
    monkeypatch.setattr("convsmith.bundle.segment.MAX_PASS_PIXELS", write_large_stripes(streets, "train"))
    assert cs.export(pixel_bundle, "onnx", tmp_path / "out", streets)["parity"]["images"] == 1


def test_a_tie_that_openvino_rounds_otherwise_is_no_fault(tmp_path: Path, colour_bundle: Path) -> None:
    """A mean of 126.5 is 126 in onnxruntime, 127 in OpenVINO: a level of dynamic INT8, and no more."""
    pytest.importorskip("openvino")
    images = tmp_path / "images"
    for label, shades in (("red", (128, 127)), ("green", (126, 127))):
        (images / label).mkdir(parents=True)
        for number in range(4):
            pixels = np.zeros((SMALL_SIDE, SMALL_SIDE, 3), np.uint8)
            pixels[..., 0], pixels[: SMALL_SIDE // 2, :, 1], pixels[SMALL_SIDE // 2 :, :, 1] = 255, *shades
            Image.fromarray(pixels).save(images / label / f"{number}.png")
    quantize_bundle(colour_bundle, images, tmp_path / "int8", method="dynamic")
    parity = cs.export(tmp_path / "int8", "openvino", tmp_path / "out", images)["parity"]
    assert parity["max_abs_diff"] > 1e-4 * 25.5  # what rounding of float32 alone is allowed
    assert parity["top1_agreement"] == 1


@pytest.mark.parametrize(
    ("name", "roundings", "tolerance"),
    [
        ("openvino", 0, FLOAT32),
        ("openvino", 1, ONE_LEVEL),
        ("openvino", 3, INT8),
        ("web", 3, INT8),
        ("onnx", 3, FLOAT32),
    ],
)
def test_only_what_rounds_while_it_runs_may_be_levels_apart(name: str, roundings: int, tolerance: Tolerance) -> None:
    nodes = [
        onnx.helper.make_node("DynamicQuantizeLinear", ["x"], [f"q{i}", f"s{i}", f"z{i}"]) for i in range(roundings)
    ]
    model = onnx.helper.make_model(onnx.helper.make_graph(nodes, "rounds", [], []))
    source = Exportable((8, 8), False, given=model.SerializeToString())
    assert find_format(name).tolerance_for(source) == tolerance


def test_a_segmentation_keeps_any_size(tmp_path: Path, pixel_bundle: Path, streets: Path) -> None:
    pytest.importorskip("openvino")
    parity = cs.export(pixel_bundle, "openvino", tmp_path / "out", streets)["parity"]
    assert parity["miou"] == parity["trained_miou"] == 1.0
    assert evaluate_bundle(tmp_path / "out", streets).miou == 1.0


@pytest.mark.parametrize("size", [(9, 15), (6, 20)])
def test_a_fixed_size_still_answers_images_of_any(
    tmp_path: Path, pixel_bundle: Path, streets: Path, size: tuple[int, int]
) -> None:
    parity = cs.export(pixel_bundle, "onnx", tmp_path / "out", streets, size=size)["parity"]
    assert (parity["miou"], parity["images"]) == (1.0, 2)  # not windows
    manifest = read_manifest(tmp_path / "out")
    assert isinstance(manifest.preprocess, WholeImage)
    assert manifest.preprocess.window is not None
    assert manifest.preprocess.window.size == size
    bundle = cs.load(tmp_path / "out")
    with pytest.raises(ConvsmithError, match="cannot run on images of shape"):
        bundle.logits(bundle.preprocess(streets / "images/val/0.png")[None, :, :5, :5])
    assert evaluate_bundle(tmp_path / "out", streets).miou == 1.0
    with pytest.raises(ConvsmithError, match="is for one size already"):
        cs.export(tmp_path / "out", "onnx", tmp_path / "again", streets, size=(4, 4))


def test_wrong_requests_are_one_clear_error(tmp_path: Path, colour_bundle: Path, run: Path, data: Path) -> None:
    out = tmp_path / "out"
    with pytest.raises(ConvsmithError, match="--size is for segmentation"):
        cs.export(colour_bundle, "onnx", out, data, size=(8, 8))
    with pytest.raises(ConvsmithError, match="--opset goes with a run"):
        cs.export(colour_bundle, "onnx", out, data, opset=20)
    with pytest.raises(ConvsmithError, match="opset 7 is not one that convsmith writes"):
        cs.export(run, "onnx", out, data, opset=7)
    with pytest.raises(ConvsmithError, match="cannot be replaced"):
        cs.export(colour_bundle, "onnx", colour_bundle, data)
    with pytest.raises(ConvsmithError, match="cannot be replaced"):
        cs.export(run, "onnx", run / "bundle", data)
    with pytest.raises(ConvsmithError, match="cannot be replaced"):
        cs.export(colour_bundle, "onnx", data, data)
    with pytest.raises(ConvsmithError, match="holds something else than an export"):
        cs.export(colour_bundle, "onnx", data / "red", run)
    with pytest.raises(ConvsmithError, match="is not a bundle"):
        cs.export(data, "onnx", out, data)
    assert not out.exists()
    assert contents(data)


def test_a_run_that_was_trained_for_int8_is_told_what_it_exports_to(tmp_path: Path, data: Path) -> None:
    write_run(tmp_path / "run", "quantization_aware={}")
    with pytest.raises(ConvsmithError, match=r"trained for INT8, have .*\n.*only to what is made of ONNX"):
        cs.export(tmp_path / "run", "torchscript", tmp_path / "out", data)
    with pytest.raises(ConvsmithError, match="a run that was not trained for INT8"):
        cs.export(tmp_path / "run", "onnx", tmp_path / "out", data, opset=20)


@pytest.mark.slow
@pytest.mark.parametrize("opset", [11, 13, 17, 18, 20, 23])
def test_a_runs_onnx_has_the_opset_of_ones_choice(tmp_path: Path, run: Path, data: Path, opset: int) -> None:
    cs.export(run, "onnx", tmp_path / "out", data, opset=opset)
    model = onnx.load(tmp_path / "out" / "model.onnx")
    assert [entry.version for entry in model.opset_import if not entry.domain] == [opset]
    onnx.checker.check_model(model)


@pytest.mark.parametrize(("opset", "ir_version"), [(12, 7), (18, 8)])
def test_a_runs_onnx_is_for_every_runtime_of_its_opset(
    tmp_path: Path, run: Path, data: Path, opset: int, ir_version: int
) -> None:
    parity = cs.export(run, "onnx", tmp_path / "out", data, opset=opset)["parity"]
    model = onnx.load(tmp_path / "out" / "model.onnx")
    assert [entry.version for entry in model.opset_import if not entry.domain] == [opset]
    assert model.ir_version == ir_version
    assert (parity["made_of"], parity["images"]) == ("torch", 12)
    assert parity["max_abs_diff"] < 1e-4


def test_an_opset_that_lacks_what_the_model_computes_is_refused_in_silence(
    tmp_path: Path, run: Path, data: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    forward = CifarResNet.forward_features
    monkeypatch.setattr(
        CifarResNet, "forward_features", lambda model, x: forward(model, x.unflatten(1, (3, 1)).flatten(1, 2))
    )
    with pytest.raises(ConvsmithError, match=r"cannot be had in opset 11: .*unflatten.*\n.*higher --opset"):
        cs.export(run, "onnx", tmp_path / "out", data, opset=11)
    assert not (tmp_path / "out").exists()
    assert capfd.readouterr().out == ""


@pytest.mark.parametrize("name", ["onnx", "onnx-fp16", "triton"])
def test_an_onnx_file_says_what_it_is_without_convsmith(
    tmp_path: Path, colour_bundle: Path, data: Path, name: str
) -> None:
    cs.export(colour_bundle, name, tmp_path / "out", data)
    (file,) = (tmp_path / "out").rglob("model.onnx")
    session = onnxruntime.InferenceSession(file.read_bytes())
    said = session.get_modelmeta().custom_metadata_map
    manifest = read_manifest(tmp_path / "out")
    assert (said["task"], tuple(json.loads(said["labels"]))) == (manifest.task, manifest.labels)
    assert json.loads(said["preprocess"]) == manifest.preprocess.model_dump(mode="json")
    assert onnx.load(file).ir_version == 8  # that of the bundle was 10, and its opset is 18


@pytest.mark.parametrize("fastest", ["onnx", "openvino"])
def test_auto_is_whichever_answers_soonest_here(
    tmp_path: Path, colour_bundle: Path, data: Path, monkeypatch: pytest.MonkeyPatch, fastest: str
) -> None:
    pytest.importorskip("openvino")
    others = {"onnx": 0.002, "openvino": 0.002}
    monkeypatch.setattr(choose_format, "median_seconds", lambda *_: {**others, fastest: 0.001})
    report = cs.export(colour_bundle, "auto", tmp_path / "out", data)
    assert (report.format, report.milliseconds[fastest]) == (fastest, 1.0)
    assert read_manifest(tmp_path / "out").format == fastest
    assert any("milliseconds of an image are onnx" in str(part) for part in report.parts())


def test_auto_passes_over_what_is_not_installed(
    tmp_path: Path, colour_bundle: Path, data: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "convsmith")
    monkeypatch.setitem(sys.modules, "openvino", None)
    monkeypatch.setattr(speed, "_SECONDS", 0.0)
    report = cs.export(colour_bundle, "auto", tmp_path / "out", data)
    assert (report.format, [*report.milliseconds]) == ("onnx", ["onnx"])
    assert "openvino is not tried" in caplog.text
