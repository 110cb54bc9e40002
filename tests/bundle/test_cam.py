"""Class activation maps of bundles: what they show, and which models have them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from convsmith.bundle.calibration import Calibration
from convsmith.bundle.cam import Cam, open_cam
from convsmith.bundle.images.image_error import NoAnswer
from convsmith.bundle.predictor import load
from convsmith.errors import ConvsmithError
from tests.colours import SIDE, colour_model, write_colour_bundle


def half(left: tuple[int, int, int], right: tuple[int, int, int]) -> NDArray[np.uint8]:
    """An image [3, SIDE, SIDE] of two colours."""
    pixels = np.zeros((3, SIDE, SIDE), np.uint8)
    pixels[:, :, : SIDE // 2], pixels[:, :, SIDE // 2 :] = np.array(left)[:, None, None], np.array(right)[:, None, None]
    return pixels


HALVES = half((200, 0, 0), (0, 0, 60))


def cam_of(path: Path) -> Cam:
    cam = open_cam(load(path))
    assert cam is not None
    return cam


def changed(change: str) -> bytes:
    """The colour model with another operation before or behind its last layer."""
    model = onnx.load_from_string(colour_model())
    _, mean, layer = model.graph.node
    match change:
        case "weights by class":
            weights = numpy_helper.to_array(model.graph.initializer.pop())
            model.graph.initializer.append(numpy_helper.from_array(np.ascontiguousarray(weights.T), "weights"))
            model.graph.node[2].CopyFrom(helper.make_node("Gemm", ["means", "weights"], ["logits"], transB=1))
        case "a bias":
            model.graph.initializer.append(numpy_helper.from_array(np.array([1, 0, 0], np.float32), "bias"))
            layer.output[0] = "product"
            model.graph.node.append(helper.make_node("Add", ["bias", "product"], ["logits"]))
        case "float16":
            weights = numpy_helper.to_array(model.graph.initializer.pop()).astype(np.float16)
            model.graph.initializer.append(numpy_helper.from_array(weights, "weights"))
            model.graph.node[0].attribute[0].i = onnx.TensorProto.FLOAT16
            layer.output[0] = "half"
            model.graph.node.append(helper.make_node("Cast", ["half"], ["logits"], to=onnx.TensorProto.FLOAT))
        case "infinite weights":
            model.graph.initializer[1].CopyFrom(numpy_helper.from_array(np.full((3, 3), np.inf, np.float32), "weights"))
        case "an activation between":
            layer.input[0] = "bent"
            model.graph.node.insert(2, helper.make_node("Relu", ["means"], ["bent"]))
        case "the largest place":
            mean.op_type = "ReduceMax"
        case "the mean of channels":
            axes = model.graph.initializer[0]
            axes.CopyFrom(numpy_helper.from_array(np.array([1, 2], np.int64), "axes"))
            model.graph.initializer[1].CopyFrom(numpy_helper.from_array(np.eye(SIDE, 3, dtype=np.float32), "weights"))
    content: bytes = model.SerializeToString()
    return content


@pytest.mark.parametrize(("class_id", "there"), [(None, "left"), (0, "left"), (2, "right")])
def test_a_map_is_hot_where_the_class_is(colour_bundle: Path, class_id: int | None, there: str) -> None:
    heat = cam_of(colour_bundle).heat(HALVES, class_id)
    assert (heat.shape, str(heat.dtype), heat.min(), heat.max()) == ((SIDE, SIDE), "float32", 0, 1)
    left, right = heat[:, : SIDE // 2].mean(), heat[:, SIDE // 2 :].mean()
    assert (left, right) == ((1, 0) if there == "left" else (0, 1))


def test_a_map_is_cold_where_nothing_speaks_for_the_class(colour_bundle: Path) -> None:
    assert not cam_of(colour_bundle).heat(HALVES, 1).any()


@pytest.mark.parametrize("change", ["weights by class", "a bias", "float16"])
def test_the_last_layer_may_be_written_in_other_ways(colour_bundle: Path, tmp_path: Path, change: str) -> None:
    other = write_colour_bundle(tmp_path / "other", changed(change))
    np.testing.assert_array_equal(cam_of(other).heat(HALVES, 2), cam_of(colour_bundle).heat(HALVES, 2))


@pytest.mark.parametrize("change", ["an activation between", "the largest place", "the mean of channels"])
def test_a_layer_that_sees_no_mean_over_places_has_no_map(tmp_path: Path, change: str) -> None:
    assert open_cam(load(write_colour_bundle(tmp_path / "other", changed(change)))) is None


def test_masks_have_no_map(pixel_bundle: Path) -> None:
    assert open_cam(load(pixel_bundle)) is None


def test_the_predicted_class_is_that_of_the_calibrated_bundle(tmp_path: Path) -> None:
    blue_counts = Calibration(weights=(0.01, 1.0, 1.0), images={}, measured={})
    path = write_colour_bundle(tmp_path / "calibrated", calibration=blue_counts)
    assert load(path).predict(HALVES.transpose(1, 2, 0)).to_dict()["label"] == "blue"
    cam = cam_of(path)
    np.testing.assert_array_equal(cam.heat(HALVES), cam.heat(HALVES, 2))


def test_an_image_without_an_answer_has_no_map(tmp_path: Path) -> None:
    cam = cam_of(write_colour_bundle(tmp_path / "bundle", changed("infinite weights")))
    with pytest.raises(NoAnswer, match="no answer for the photo"):
        cam.heat(HALVES, name="the photo")


def test_a_bundle_that_was_replaced_gives_no_map_of_another_model(tmp_path: Path) -> None:
    path = write_colour_bundle(tmp_path / "bundle")
    cam = cam_of(path)
    (path / "model.onnx").write_bytes(changed("a bias"))
    with pytest.raises(ConvsmithError, match="SHA-256"):
        cam.heat(HALVES)
