"""For which processors an INT8 model is: its weights have 7 bits where sums of two products must fit 16."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

import convsmith as cs
from convsmith.bundle.format import read_manifest, read_model
from convsmith.bundle.write import Card, write_bundle
from convsmith.deploy.qdq import insert_qdq
from convsmith.deploy.quantize import quantize_bundle
from convsmith.errors import ConvsmithError
from convsmith.processor import Target, instructions
from tests.colours import write_colour_bundle
from tests.exports import write_colours

WARNING = "sums of products can be cut off"


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_colours(tmp_path_factory.mktemp("data") / "colours", count=10)


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("convsmith.deploy.speed._SECONDS", 0.0)


@pytest.fixture(params=["any processor", "without VNNI"])
def here(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Any:
    """What this processor's own target is said to be."""
    found: Target | None = None if request.param == "without VNNI" else "vnni"
    pretend(monkeypatch, found)
    return found


def pretend(monkeypatch: pytest.MonkeyPatch, found: Target | None) -> None:
    for module in ("processor", "bundle.int8_sums", "deploy.static_int8"):
        monkeypatch.setattr(f"convsmith.{module}.native_target", lambda: found)


def largest_integer(bundle: Path) -> int:
    model = onnx.load_from_string(read_model(bundle, read_manifest(bundle)))
    weights = [numpy_helper.to_array(t) for t in model.graph.initializer if t.name.endswith("_weight_q")]
    assert all(array.dtype == np.int8 for array in weights)
    return max(int(np.abs(array.astype(int)).max()) for array in weights)


@pytest.mark.parametrize("method", ["static", "dynamic"])
def test_by_default_an_int8_model_is_for_any_x86(colour_bundle: Path, data: Path, tmp_path: Path, method: Any) -> None:
    report = quantize_bundle(colour_bundle, data, tmp_path / "int8", method=method)
    assert (report.target, report.any_x86) == ("any-x86", None)
    assert largest_integer(tmp_path / "int8") == 63


@pytest.mark.parametrize("method", ["static", "dynamic"])
@pytest.mark.parametrize("target", ["vnni", "arm"])
def test_where_sums_are_exact_weights_use_all_bits(
    colour_bundle: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, method: Any, target: Target
) -> None:
    pretend(monkeypatch, "vnni")
    report = quantize_bundle(colour_bundle, data, tmp_path / "int8", method=method, target=target)
    assert report.target == read_manifest(tmp_path / "int8").model["quantization"]["target"] == target
    assert largest_integer(tmp_path / "int8") == 127


def test_the_proof_names_the_instruction_set(colour_bundle: Path, data: Path, tmp_path: Path) -> None:
    quantize_bundle(colour_bundle, data, tmp_path / "int8")
    assert read_manifest(tmp_path / "int8").parity["instructions"] == instructions()


def test_a_target_that_cannot_be_proved_here_is_refused_before_the_work(
    colour_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pretend(monkeypatch, None)
    with pytest.raises(ConvsmithError, match="cannot be proved on this processor"):
        quantize_bundle(colour_bundle, tmp_path / "none", tmp_path / "int8", target="vnni")


def test_seven_bits_that_cost_too_much_give_way_to_this_processors_eight(
    colour_bundle: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pretend(monkeypatch, "vnni")
    ruin_seven_bits(monkeypatch)
    report = quantize_bundle(colour_bundle, data, tmp_path / "int8")
    assert report.target == "vnni"
    assert report.any_x86 is not None
    assert report.any_x86.drop > 0.1
    assert report.held_out is not None
    assert report.held_out.drop <= 0.1


def test_without_exact_sums_here_layers_stay_in_float_instead(
    colour_bundle: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pretend(monkeypatch, None)
    ruin_seven_bits(monkeypatch)
    with pytest.raises(ConvsmithError, match="no INT8 form of this model loses less"):  # it has but one layer
        quantize_bundle(colour_bundle, data, tmp_path / "int8")


def ruin_seven_bits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Weights for any x86 become zeros."""

    def insert(graph: Any, placement: Any, ranges: Any, largest: int) -> bytes:
        content = insert_qdq(graph, placement, ranges, largest)
        if largest == 127:
            return content
        model = onnx.load_from_string(content)
        for tensor in model.graph.initializer:
            if tensor.name.endswith("_weight_q"):
                tensor.raw_data = bytes(len(tensor.raw_data))
        return bytes(model.SerializeToString())

    monkeypatch.setattr("convsmith.deploy.static_int8.insert_qdq", insert)


@pytest.mark.parametrize(
    ("quantization", "warned"),
    [
        ({"method": "static", "target": "any-x86"}, False),
        ({"method": "static", "target": "vnni"}, True),
        ({"method": "training", "target": "arm"}, True),
        ({"method": "static"}, True),  # of a convsmith that had no targets
        (None, False),
    ],
)
def test_a_bundle_whose_sums_may_be_cut_off_here_warns(
    tmp_path: Path, here: Target | None, caplog: pytest.LogCaptureFixture, quantization: Any, warned: bool
) -> None:
    info = {"name": "colour"} if quantization is None else {"name": "colour", "quantization": quantization}
    bundle = write_colour_bundle(tmp_path / "bundle", model_info=info)
    with caplog.at_level(logging.WARNING):
        cs.load(bundle)
    assert (WARNING in caplog.text) == (warned and here is None)


def test_evaluate_warns_too(
    colour_bundle: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    pretend(monkeypatch, None)
    manifest = read_manifest(colour_bundle)
    info = {**manifest.model, "quantization": {"target": "vnni"}}
    write_bundle(tmp_path / "int8", read_model(colour_bundle, manifest), replace(Card.of(manifest), model=info))
    with caplog.at_level(logging.WARNING):
        cs.evaluate(tmp_path / "int8", data)
    assert caplog.text.count(WARNING) == 1
