from __future__ import annotations

import json
import shutil
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from PIL import Image
from sklearn.datasets import load_digits
from torch import Tensor, nn

from convsmith.analyze.evaluate import evaluate_bundle
from convsmith.bundle.calibration import Calibration
from convsmith.bundle.classification import Classification
from convsmith.bundle.format import MODEL, read_files, read_manifest, read_model
from convsmith.bundle.predictor import Bundle, load
from convsmith.bundle.runtime import OnnxRuntime
from convsmith.bundle.write import Card, write_bundle
from convsmith.cli.main import main
from convsmith.deploy.bundle import make_bundle
from convsmith.deploy.calibration import _differ, _least_entropy, _least_error, _percentile, calibrate
from convsmith.deploy.graph import Graph
from convsmith.deploy.judging import InMemory, Labelled
from convsmith.deploy.labelled import balanced_order, open_labelled
from convsmith.deploy.qdq import _keeps_scale, _scale_and_zero, insert_qdq, place
from convsmith.deploy.quantize import quantize_bundle
from convsmith.deploy.static_int8 import Int8, _Search, kernels, quantize_static
from convsmith.deploy.trial import Verdict, compare, run_all
from convsmith.errors import ConvsmithError
from convsmith.jobs.export import export
from convsmith.progress import no_progress
from convsmith.recipe.load import load_recipe
from convsmith.spec import Preprocess
from tests.stripes import write_large_stripes, write_pixel_bundle, write_stripes

SIDE = 8
DIGITS = tuple("0123456789")


class TinyNet(nn.Module):
    """Two convolutions, a shortcut and a linear layer: every kind of node that has an integer kernel."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16)
        self.conv2, self.bn2 = nn.Conv2d(16, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16)
        self.fc = nn.Linear(16 * 4, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.bn1(self.conv1(x)).relu()
        x = (x + self.bn2(self.conv2(x))).relu()
        logits: Tensor = self.fc(nn.functional.max_pool2d(x, 4).flatten(1))
        return logits


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """900 handwritten digits, a quarter of them to validate."""
    root = tmp_path_factory.mktemp("digits")
    images, targets = load_digits(return_X_y=True)
    for i, (pixels, target) in enumerate(zip(images[:900], targets, strict=False)):
        folder = root / ("val" if i % 4 == 0 else "train") / str(target)
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray((pixels.reshape(8, 8) * 255 / 16).astype(np.uint8)).save(folder / f"{i:04}.png")
    return root


@pytest.fixture(scope="module")
def trained(data: Path) -> TinyNet:
    """Trained for a second or two."""
    torch.manual_seed(0)
    model = TinyNet()
    images, targets = load_digits(return_X_y=True)
    learn = np.arange(len(images)) % 4 != 0
    x = torch.from_numpy(images[learn]).float().view(-1, 1, 8, 8).expand(-1, 3, -1, -1) / 16
    mean, std = (torch.tensor(v).view(3, 1, 1) for v in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    x, y = (x - mean) / std, torch.from_numpy(targets[learn])
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    for step in range(80):
        rows = torch.arange(step * 128, step * 128 + 128) % len(x)
        loss = nn.functional.cross_entropy(model(x[rows]), y[rows])
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    return model.eval()


def write(model: nn.Module, path: Path) -> Path:
    recipe = load_recipe("digits").model_copy(update={"preprocess": Preprocess(resize=SIDE, crop=SIDE)})
    images = torch.from_numpy(np.random.RandomState(0).randint(0, 256, (4, 3, SIDE, SIDE), np.uint8))
    make_bundle(path, model, recipe, labels=DIGITS, metrics={}, images=[images])
    return path


@pytest.fixture(scope="module")
def bundle(trained: TinyNet, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(trained, tmp_path_factory.mktemp("bundles") / "float")


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("convsmith.deploy.speed._SECONDS", 0.0)


def content(path: Path) -> bytes:
    return read_model(path, read_manifest(path))


@pytest.mark.parametrize(
    ("low", "high", "scale", "zero"),
    [(-102.0, 408.0, 2.0, 51), (0.0, 255.0, 1.0, 0), (10.0, 255.0, 1.0, 0), (-255.0, -3.0, 1.0, 255)],
)
def test_0_is_one_of_the_levels_of_any_range(low: float, high: float, scale: float, zero: int) -> None:
    assert _scale_and_zero(low, high) == (scale, zero)


def test_a_range_by_percentile_leaves_out_as_many_values_at_both_ends() -> None:
    histogram = np.zeros(2048, np.int64)
    histogram[[0, 500, 1500, -1]] = 4, 50_000, 49_992, 4  # of 100,000 five at each end may be left out
    assert _percentile(histogram, -1024.0, 1024.0) == (-524.0, 477.0)
    histogram[[0, -1]] = 6
    assert _percentile(histogram, -1024.0, 1024.0) == (-1024.0, 1024.0)


def test_the_range_of_least_squared_error_balances_rounding_and_clipping() -> None:
    """As many values near 0 as make rounding over all of the range as bad as clipping one value to nothing."""
    histogram = np.zeros(2048, np.int64)
    histogram[0], histogram[-1] = 12 * 255**2, 1  # a step's rounding has the mean squared error of step^2 / 12
    assert _least_error(histogram, 0.0, 1.0) == pytest.approx((0.0, 0.5), abs=0.001)
    histogram[0], histogram[1024] = 0, 3 * 255**2  # with steps twice as large
    assert _least_error(histogram, -1.0, 1.0) == pytest.approx((-0.5, 0.5), abs=0.001)


def test_a_calibration_is_not_that_of_the_int8_form(
    bundle: Path, data: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    own = Calibration(weights=(0.5,), images={"scaling": 9}, measured={})
    files = read_files(bundle, read_manifest(bundle))
    write_bundle(tmp_path / "calibrated", files, replace(Card.of(read_manifest(bundle)), calibration=own))
    report = quantize_bundle(tmp_path / "calibrated", data, tmp_path / "int8", method="dynamic")
    plain = quantize_bundle(bundle, data, tmp_path / "plain", method="dynamic")
    assert read_manifest(tmp_path / "int8").calibration is None
    assert "its INT8 form will not be" in caplog.text
    assert report.float_model.metrics == plain.float_model.metrics


def test_the_range_of_least_information_lost_leaves_out_values_far_from_all_others() -> None:
    values = np.random.RandomState(0).normal(0.5, 0.2, 100_000)
    histogram = np.histogram([*values, -1, 3], 2048, (-1, 3))[0]
    low, high = _least_entropy(histogram, -1.0, 3.0)
    assert high == pytest.approx(values.max(), abs=0.1)
    assert low == pytest.approx(-high / 3)


def test_ranges_differ_where_their_widths_do_by_more_than_a_hundredth() -> None:
    assert not _differ({"a": (-1.0, 3.0), "b": (0.0, 1.0)}, {"a": (-1.02, 3.01), "b": (0.0, 1.0)})
    assert _differ({"a": (-1.0, 3.0), "b": (0.0, 1.02)}, {"a": (-1.0, 3.0), "b": (0.0, 1.0)})
    assert _differ({"a": (-1.0, 3.0)}, {"a": (-1.0, 3.1)})


def test_a_trained_model_keeps_its_accuracy_and_computes_on_integers_throughout(
    bundle: Path, data: Path, tmp_path: Path
) -> None:
    report = quantize_bundle(bundle, data, tmp_path / "int8", images=256, max_drop=0.3)  # one image of 400
    assert report.float_model.metrics["top1"] > 0.9
    assert report.held_out is not None
    assert report.held_out.drop <= 0.3
    assert report.drop < 1.0
    assert report.float_layers == ()
    assert report.layers == 3
    found = kernels(content(tmp_path / "int8"))
    assert (found["QLinearConv"], found["QLinearAdd"], found["QGemm"]) == (2, 1, 1)
    assert found["Conv"] == found["FusedConv"] == found["DequantizeLinear"] == 0
    manifest = load(tmp_path / "int8").manifest
    assert manifest.metrics == report.int8_model.metrics
    assert manifest.model["quantization"] == json.loads(json.dumps(report.to_dict()))
    assert manifest.parity["top1_agreement"] == report.parity["top1_agreement"] > 0.97
    for form, folder in ((report.float_model, bundle), (report.int8_model, tmp_path / "int8")):
        assert form.ece == pytest.approx(evaluate_bundle(folder, data).ece, abs=1e-6)


def test_the_same_seed_gives_the_same_bytes_and_another_one_does_not(bundle: Path, data: Path, tmp_path: Path) -> None:
    for name, seed in (("one", 0), ("two", 0), ("three", 1)):
        quantize_bundle(bundle, data, tmp_path / name, images=20, seed=seed, max_drop=100)
    one, two, three = (content(tmp_path / name) for name in ("one", "two", "three"))
    assert one == two
    assert one != three


def test_layers_that_integers_ruin_stay_in_float(trained: TinyNet, data: Path, tmp_path: Path) -> None:
    """A channel between two convolutions is made so large that 255 levels leave nothing of the other channels."""

    class Loud(TinyNet):
        def __init__(self) -> None:
            super().__init__()
            self.between = nn.Conv2d(16, 16, 1, bias=False)

        def forward(self, x: Tensor) -> Tensor:
            x = self.between(self.bn1(self.conv1(x)).relu()) / self.volume()
            x = (x + self.bn2(self.conv2(x))).relu()
            logits: Tensor = self.fc(nn.functional.max_pool2d(x, 4).flatten(1))
            return logits

        def volume(self) -> Tensor:
            return torch.tensor([1.0] * 15 + [3e4]).view(1, 16, 1, 1)

    model = Loud().eval().requires_grad_(False)
    model.load_state_dict(
        {**trained.state_dict(), "between.weight": torch.diag(model.volume().flatten())[..., None, None]}
    )
    path = write(model, tmp_path / "loud")
    report = quantize_bundle(path, data, tmp_path / "int8", images=256, max_drop=0.5)
    assert [layer.name for layer in report.float_layers] == ["between"]
    assert "dB" in report.float_layers[0].why
    assert min(verdict.drop for verdict in report.tried.values()) > 0.5
    assert report.drop < 1.5
    assert kernels(content(tmp_path / "int8"))["QLinearConv"] == 2


def test_a_model_that_cannot_be_had_in_int8_is_refused_and_nothing_is_written(
    bundle: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("convsmith.deploy.static_int8.insert_qdq", lambda graph, *_: silenced(graph))
    with pytest.raises(ConvsmithError, match=r"no INT8 form of this model loses less than 0\.1 points"):
        quantize_bundle(bundle, data, tmp_path / "int8", images=20)
    assert list(tmp_path.iterdir()) == []


def silenced(graph: Graph) -> bytes:
    """The model with a last layer that says nothing."""
    model = onnx.ModelProto()
    model.CopyFrom(graph.model)
    last = next(node for node in reversed(model.graph.node) if node.op_type == "Gemm")
    for tensor in model.graph.initializer:
        if tensor.name in last.input:
            tensor.raw_data = bytes(len(tensor.raw_data))
    return bytes(model.SerializeToString())


def test_onnxruntime_leaving_a_layer_in_float_is_an_error(
    bundle: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def without_first(graph: Graph, _placement: object, ranges: dict[str, tuple[float, float]], _: int) -> bytes:
        return insert_qdq(graph, place(graph, [graph.weighted()[0].name]), ranges)

    monkeypatch.setattr("convsmith.deploy.static_int8.insert_qdq", without_first)
    with pytest.raises(ConvsmithError, match="computes 1 Conv nodes on integers, not 2"):
        quantize_bundle(bundle, data, tmp_path / "int8", images=20, max_drop=100)


@pytest.mark.parametrize("kept", ["conv1", "conv2", "fc"])
def test_onnxruntime_makes_no_integers_of_a_layer_that_stays_in_float(bundle: Path, kept: str) -> None:
    graph = Graph.load(content(bundle))
    name = {"conv1": 0, "conv2": 1, "fc": 2}[kept]
    placement = place(graph, [graph.weighted()[name].name])
    images = np.random.RandomState(0).randint(0, 256, (8, 3, SIDE, SIDE), np.uint8)
    ranges = calibrate(graph, placement.rounded, lambda run: np.testing.assert_array_equal(run(images).shape, (8, 10)))[
        "minmax"
    ]
    found = kernels(insert_qdq(graph, placement, ranges))
    assert found["QLinearConv"] == (2 if kept == "fc" else 1)
    assert found["QGemm"] == (0 if kept == "fc" else 1)


def test_dynamic_says_what_it_does_not_cover(
    bundle: Path, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main_ok(["quantize", str(bundle), "--data", str(data), "--out", str(tmp_path / "int8"), "--method", "dynamic"])
    printed = capsys.readouterr().out
    assert "dynamic INT8 covers 1 of 3 layers with weights" in printed
    assert "the 2 convolutions stay in float" in printed
    assert "the logits of an image vary a little with the others" in printed
    assert kernels(content(tmp_path / "int8"))["Conv"] + kernels(content(tmp_path / "int8"))["FusedConv"] == 2
    exact: Bundle[Classification] = load(bundle)
    integer: Bundle[Classification] = load(tmp_path / "int8")
    image = np.asarray(Image.open(next((data / "val" / "3").iterdir())).convert("RGB"))
    np.testing.assert_allclose(exact.predict(image).logits, integer.predict(image).logits, atol=0.3)


def test_dynamic_of_convolutions_alone_is_refused(pixel_bundle: Path, tmp_path: Path) -> None:
    data = write_stripes(tmp_path / "data", "train", [("red", "green"), ("blue", "red")])
    write_stripes(data, "val", [("red", "blue")])
    with pytest.raises(ConvsmithError, match="dynamic INT8 does nothing for this model"):
        quantize_bundle(pixel_bundle, data, tmp_path / "int8", method="dynamic")


def test_a_bundle_for_segmentation_is_calibrated_and_judged_by_masks(tmp_path: Path) -> None:
    scenes = [("red", "green", "blue"), ("blue", "red"), ("green", "blue"), ("red", "blue", "green")]
    data = write_stripes(tmp_path / "data", "train", scenes)
    write_stripes(data, "val", scenes)
    bundle = write_pixel_bundle(tmp_path / "float", recipe={"data": {}})
    report = quantize_bundle(bundle, data, tmp_path / "int8")
    assert (report.metric, report.drop, report.images) == ("miou", 0.0, 4)
    assert (report.calibration_images, report.held_out_images) == (2, 2)
    assert kernels(content(tmp_path / "int8"))["QLinearConv"] == 1
    assert [form.ece for form in report.forms.values()] == pytest.approx([0.0, 0.0], abs=0.01)
    if find_spec("openvino"):  # it makes one of the input and what rounds it
        assert load(tmp_path / "int8", runtime="openvino")


def test_images_that_cannot_be_used_are_not_counted(
    bundle: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(data, tmp_path / "data")
    for part in ("train", "val"):
        for file in sorted((tmp_path / "data" / part / "3").iterdir())[:5]:
            file.write_bytes(b"no image")
    report = quantize_bundle(bundle, tmp_path / "data", tmp_path / "int8", images=10**6, max_drop=100)
    assert (report.images, report.calibration_images + report.held_out_images) == (225 - 5, 675 - 5)


def test_an_image_too_large_to_be_segmented_is_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scenes = [("red", "green", "blue"), ("blue", "red"), ("green", "blue"), ("red", "blue", "green")]
    data = write_stripes(tmp_path / "data", "train", scenes)
    write_stripes(data, "val", scenes)
    bundle = write_pixel_bundle(tmp_path / "float", recipe={"data": {}})
    for part in ("train", "val"):
        monkeypatch.setattr("convsmith.bundle.segment.MAX_PASS_PIXELS", write_large_stripes(data, part))
    report = quantize_bundle(bundle, data, tmp_path / "int8", max_drop=100)
    assert (report.images, report.calibration_images + report.held_out_images) == (3, 3)


def test_float16_under_the_name_of_onnx_is_refused(pixel_bundle: Path, tmp_path: Path) -> None:
    data = write_stripes(tmp_path / "data", "train", [("red", "green")])
    export(pixel_bundle, "onnx-fp16", tmp_path / "fp16", data)
    manifest = read_manifest(tmp_path / "fp16")
    files = read_files(tmp_path / "fp16", manifest)
    write_bundle(tmp_path / "renamed", files, replace(Card.of(manifest), format="onnx"))
    with pytest.raises(ConvsmithError, match="renamed cannot be quantized: its ONNX file has weights in FLOAT16"):
        quantize_bundle(tmp_path / "renamed", data, tmp_path / "int8")


def test_an_int8_bundle_is_not_exported_to_float16(bundle: Path, data: Path, tmp_path: Path) -> None:
    quantize_bundle(bundle, data, tmp_path / "int8", images=20, max_drop=100)
    with pytest.raises(ConvsmithError, match="an INT8 bundle is not exported to onnx-fp16"):
        export(tmp_path / "int8", "onnx-fp16", tmp_path / "out", data)


@pytest.mark.parametrize(
    ("operator", "keeps"),
    [("resize", True), ("pad", True), ("pad with ones", False), ("pad with what is computed", False)],
)
def test_what_is_padded_with_zeros_keeps_its_levels(operator: str, keeps: bool) -> None:
    model = onnx.load_from_string(between(operator))
    assert _keeps_scale(Graph(model), model.graph.node[2]) == keeps


def test_what_onnxruntime_cannot_calibrate_is_one_clear_error() -> None:
    model = onnx.load_from_string(between("pad"))
    model.graph.node[1].op_type = "Nonsense"
    graph = Graph(model)
    with pytest.raises(ConvsmithError, match="the model cannot be calibrated"):
        calibrate(graph, ["a"], lambda _: None)


def test_a_recipe_that_does_not_say_how_data_were_split_is_warned_of(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    data = write_stripes(tmp_path / "data", "train", [("red", "green"), ("blue", "red")])
    write_stripes(data, "val", [("red", "blue")])
    bundle = write_pixel_bundle(tmp_path / "float", recipe={"data": {"key_of_tomorrow": 1}})
    open_labelled(read_manifest(bundle), data)
    assert "they are split by default" in caplog.text


def test_a_bundle_whose_training_held_nothing_out_is_measured_on_a_share_with_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    data = write_stripes(tmp_path / "data", "train", [("red", "green"), ("blue", "red")])
    recipe = {"data": {"masks": {"val": None, "classes": ["red", "green", "blue"]}}, "eval": False}
    train, val = open_labelled(read_manifest(write_pixel_bundle(tmp_path / "float", recipe=recipe)), data)
    assert (len(train), len(val)) == (1, 1)
    assert "holds no images out (eval: false)" in caplog.text


def test_a_bundle_for_one_size_stays_one(pixel_bundle: Path, tmp_path: Path) -> None:
    data = write_stripes(tmp_path / "data", "train", [("red", "green"), ("blue", "red")])
    write_stripes(data, "val", [("red", "blue")])
    export(pixel_bundle, "onnx", tmp_path / "fixed", data, size=(8, 8))
    quantize_bundle(tmp_path / "fixed", data, tmp_path / "int8")
    assert load(tmp_path / "int8").manifest.one_size


def test_a_bundle_in_float16_is_refused(pixel_bundle: Path, tmp_path: Path) -> None:
    data = write_stripes(tmp_path / "data", "train", [("red", "green")])
    export(pixel_bundle, "onnx-fp16", tmp_path / "fp16", data)
    with pytest.raises(ConvsmithError, match="fp16 cannot be quantized: its format is onnx-fp16"):
        quantize_bundle(tmp_path / "fp16", data, tmp_path / "int8")


def test_an_int8_bundle_runs_in_openvino_without_an_export(bundle: Path, data: Path, tmp_path: Path) -> None:
    pytest.importorskip("openvino")
    quantize_bundle(bundle, data, tmp_path / "int8", images=20, max_drop=100)
    with pytest.raises(ConvsmithError, match=r'not exported to openvino: .*\n.*runtime="openvino"'):
        export(tmp_path / "int8", "openvino", tmp_path / "out", data)
    image = Image.open(next((data / "val" / "3").iterdir())).convert("RGB")
    assert load(tmp_path / "int8", runtime="openvino").predict(image).to_dict()["label"] == "3"


@pytest.mark.parametrize(("layers", "needed"), [(1, 1), (2, 1), (3, 2), (3, 3), (20, 1), (20, 11), (20, 19), (20, 20)])
def test_all_layers_but_one_may_stay_in_float(monkeypatch: pytest.MonkeyPatch, layers: int, needed: int) -> None:
    order = [f"{number:02}" for number in range(layers)]
    search = object.__new__(_Search)
    vars(search).update(layers=order, max_drop=0.1, held_out=[])
    monkeypatch.setattr(_Search, "_signal_to_noise", lambda _: {name: float(name) for name in order})
    verdicts = {good: Verdict(0.0 if good else 1.0, 1, 1, 0, 0) for good in (True, False)}
    monkeypatch.setattr(_Search, "_try", lambda _, kept: (b"", verdicts[len(kept) >= needed]))
    if needed < layers:
        assert len(search.float_layers(verdicts[False])[2]) == needed
    else:
        with pytest.raises(ConvsmithError, match=f"with {layers - 1} of its {layers} layers in float"):
            search.float_layers(verdicts[False])


def test_an_onnx_file_of_an_old_opset_is_not_quantized(colour_bundle: Path, tmp_path: Path) -> None:
    manifest = read_manifest(colour_bundle)
    model = onnx.load_from_string(read_model(colour_bundle, manifest))
    model.opset_import[0].version = 12
    write_bundle(tmp_path / "old", model.SerializeToString(), Card.of(manifest))
    with pytest.raises(ConvsmithError, match="cannot be quantized: its ONNX file has opset 12"):
        quantize_bundle(tmp_path / "old", tmp_path, tmp_path / "int8")


def test_an_int8_file_says_what_it_is(bundle: Path, data: Path, tmp_path: Path) -> None:
    quantize_bundle(bundle, data, tmp_path / "int8", method="dynamic")
    said = {entry.key: entry.value for entry in onnx.load(tmp_path / "int8" / MODEL).metadata_props}
    assert (said["task"], tuple(json.loads(said["labels"]))) == ("classification", DIGITS)


def test_an_int8_bundle_cannot_be_quantized_again(bundle: Path, data: Path, tmp_path: Path) -> None:
    quantize_bundle(bundle, data, tmp_path / "int8", images=20, max_drop=100)
    with pytest.raises(ConvsmithError, match="is INT8 already"):
        quantize_bundle(tmp_path / "int8", data, tmp_path / "again")


def test_other_classes_than_the_bundles_are_refused(bundle: Path, tmp_path: Path) -> None:
    for label in ("3", "33"):
        (tmp_path / "data" / label).mkdir(parents=True)
        for i in range(3):
            Image.new("RGB", (8, 8)).save(tmp_path / "data" / label / f"{i}.png")
    with pytest.raises(ConvsmithError, match="has the class `33`, which the bundle lacks"):
        quantize_bundle(bundle, tmp_path / "data", tmp_path / "int8")


def test_json_holds_what_the_table_does(
    bundle: Path, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["quantize", str(bundle), "--data", str(data), "--out", str(tmp_path / "int8"), "--max-drop", "100"]
    main_ok([*words, "--images", "20", "--json"])
    values = json.loads(capsys.readouterr().out)
    assert values["bundle"] == str(tmp_path / "int8")
    assert (values["size"], values["int8_model"]["latency_ms"]) == (None, None)
    assert values["int8_model"]["bytes"] == (tmp_path / "int8" / MODEL).stat().st_size < values["float_model"]["bytes"]
    main_ok(words)
    printed = capsys.readouterr().out
    assert "calibration error" in printed
    assert "float" in printed
    assert "points lost" in printed
    assert printed.endswith(f"speed:  convsmith benchmark {bundle} {tmp_path / 'int8'}\n")


def test_speed_is_measured_if_that_is_asked_for(
    bundle: Path, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["quantize", str(bundle), "--data", str(data), "--out", str(tmp_path / "int8"), "--method", "dynamic"]
    main_ok([*words, "--speed"])
    printed = capsys.readouterr().out
    assert "times as fast" in printed
    assert "convsmith benchmark" not in printed
    kept = read_manifest(tmp_path / "int8").model["quantization"]
    assert (kept["size"], kept["batch"]) == ([SIDE, SIDE], 8)
    assert kept["float_model"]["latency_ms"] > 0


def ranked_by_70_of_200(
    bundle: Path, data: Path, max_drop: float, monkeypatch: pytest.MonkeyPatch
) -> tuple[Int8, list[Labelled], list[tuple[str, int]]]:
    """A model in INT8, the images held out of its calibration, and how many of them each form was asked about."""
    monkeypatch.setattr("convsmith.deploy.static_int8._RANKING_PIXELS", 70 * SIDE * SIDE)
    manifest, asked = read_manifest(bundle), list[tuple[str, int]]()
    train, _ = open_labelled(manifest, data)
    held_out = list(train.select(range(100, 300)))

    def progress(what: str, done: int, total: int | None) -> None:
        if done == 0 and what.startswith("any-x86 INT8"):
            asked.append((what, total or 0))

    given = manifest, content(bundle), train.select(range(100)), held_out
    return quantize_static(*given, max_drop=max_drop, progress=progress, target="any-x86"), held_out, asked


def test_rules_are_ranked_by_the_first_held_out_images_and_the_best_is_judged_by_all(
    bundle: Path, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, held_out, asked = ranked_by_70_of_200(bundle, data, 100, monkeypatch)
    assert made.rule == max(made.tried, key=lambda rule: made.tried[rule].snr_db)
    ranking = [(f"any-x86 INT8 by {rule}", 70) for rule in made.tried]
    assert asked == [*ranking, (f"any-x86 INT8 by {made.rule}, further images", 130)]
    models = content(bundle), made.content
    exact, int8 = (run_all(read_manifest(bundle), it, InMemory(held_out), no_progress, "") for it in models)
    assert made.verdict == compare(read_manifest(bundle), exact, int8)


def test_the_next_rule_is_judged_where_the_one_before_loses_too_much(
    bundle: Path, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_Search, "float_layers", lambda _, verdict: (content(bundle), verdict, ()))
    monkeypatch.setattr("convsmith.deploy.static_int8.check_kernels", lambda *_: None)
    made, _, asked = ranked_by_70_of_200(bundle, data, -100, monkeypatch)  # which no rule can gain
    order = sorted(made.tried, key=lambda rule: -made.tried[rule].snr_db)
    assert asked[len(order) :] == [(f"any-x86 INT8 by {rule}, further images", 130) for rule in order]


def test_only_a_bundle_or_an_empty_folder_is_replaced(bundle: Path, data: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(bundle)
    for out in (bundle, bundle.parent / "." / "x" / ".." / bundle.name, tmp_path / "link", data, data.parent):
        with pytest.raises(ConvsmithError, match="cannot be replaced"):
            quantize_bundle(bundle, data, out)
    with pytest.raises(ConvsmithError, match="lies among the images"):
        quantize_bundle(bundle, data, data / "train")
    with pytest.raises(ConvsmithError, match="holds something else than an export"):
        quantize_bundle(bundle, data, bundle / MODEL)
    assert load(bundle)
    (tmp_path / "int8").mkdir()
    for _ in range(2):
        quantize_bundle(bundle, data, tmp_path / "int8", method="dynamic")


def test_the_first_images_have_of_each_class_as_many() -> None:
    targets = np.array([0] * 50 + [1] * 5 + [2] * 20)
    order = balanced_order(targets, seed=0)
    assert sorted(order) == list(range(75))
    assert np.bincount(targets[order[:15]]).tolist() == [5, 5, 5]
    assert order != balanced_order(targets, seed=1)


@pytest.mark.parametrize(
    ("scopes", "name"),
    [
        ("['', 'layer1.conv', 'conv2d']", "layer1.conv"),
        *((text, "node") for text in ("", "[", "f()", "7", "{1: 2}", "['one']", "\0", "(" * 9999, "-" * 99999 + "1")),
    ],
)
def test_a_layer_has_the_exporters_name_if_that_can_be_read(scopes: str, name: str) -> None:
    model = onnx.load_from_string(between("pad"))
    first = next(node for node in model.graph.node if node.op_type == "Conv")
    first.name = "node"
    first.metadata_props.add(key="pkg.torch.onnx.name_scopes", value=scopes)
    assert Graph.load(model.SerializeToString()).weighted()[0].name == name


@pytest.mark.parametrize("operator", ["resize", "pad", "mean"])
def test_what_lies_between_convolutions_has_no_island_of_float(operator: str) -> None:
    graph = Graph.load(between(operator))
    placement = place(graph)
    runtime = OnnxRuntime(graph.model.SerializeToString())
    image = np.random.RandomState(0).randint(0, 256, (1, 3, 8, 8), np.uint8)
    model = insert_qdq(
        graph,
        placement,
        {name: (0.0, 255.0) if name == "floats" else (-4.0, 4.0) for name in placement.rounded.values()},
        largest=63,  # without VNNI, sums of larger weights are cut off
    )
    found = kernels(model)
    assert found["QLinearConv"] == 2
    assert found["QuantizeLinear"] == found["DequantizeLinear"] == 1
    np.testing.assert_allclose(OnnxRuntime(model).run(image), runtime.run(image), atol=0.1)


def between(operator: str) -> bytes:
    """Two 1x1 convolutions with something between them."""
    generator = np.random.RandomState(0)
    constants = {
        "one": generator.randn(8, 3, 1, 1).astype(np.float32) / 255,
        "two": generator.randn(4, 8, 1, 1).astype(np.float32) / 8,
        "sizes": np.array([1, 8, 5, 7]),
        "pads": np.array([0, 0, 0, 1, 0, 0, 1, 0]),
        "zero": np.array(0, np.float32),
        "axes": np.array([2, 3]),
    }
    middle = {
        "resize": helper.make_node("Resize", ["a", "", "", "sizes"], ["b"], mode="linear"),
        "pad": helper.make_node("Pad", ["a", "pads", "zero"], ["b"]),
        "pad with ones": helper.make_node("Pad", ["a", "pads", "one"], ["b"]),
        "pad with what is computed": helper.make_node("Pad", ["a", "pads", "a"], ["b"]),
        "mean": helper.make_node("ReduceMean", ["a", "axes"], ["b"]),
    }
    nodes = [
        helper.make_node("Cast", ["images"], ["floats"], to=TensorProto.FLOAT),
        helper.make_node("Conv", ["floats", "one"], ["a"]),
        middle[operator],
        helper.make_node("Conv", ["b", "two"], ["logits"]),
    ]
    graph = helper.make_graph(
        nodes,
        operator,
        [helper.make_tensor_value_info("images", TensorProto.UINT8, [1, 3, 8, 8])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, [1, 4, None, None])],
        [numpy_helper.from_array(values, name) for name, values in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    return bytes(model.SerializeToString())


def main_ok(words: list[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(words)
    assert ended.value.code in (0, None)
