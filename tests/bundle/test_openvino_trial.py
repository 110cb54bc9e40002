"""A model in OpenVINO's format is tried in another process, which the system stops."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from convsmith.bundle.openvino_runtime import OpenVinoRuntime
from convsmith.bundle.openvino_trial import try_model
from convsmith.bundle.runtime import INPUT, OUTPUT
from convsmith.errors import ConvsmithError

openvino = pytest.importorskip("openvino")


def saved(products: int, folder: Path) -> tuple[bytes, bytes]:
    """A model that adds to the image's mean what products of a matrix of ones come to, and its weights."""
    ops = openvino.opset13
    images = ops.parameter([1, 3, 8, 8], np.uint8, name="images")
    mean = ops.reduce_mean(ops.convert(images, "f32"), ops.constant(np.array([1, 2, 3])), keep_dims=True)
    matrix = ops.broadcast(ops.constant(np.float32(1)), ops.constant(np.array([2000, 2000])))
    for _ in range(products):
        matrix = ops.matmul(matrix, matrix, False, False)
    total = ops.reduce_mean(matrix, ops.constant(np.array([0, 1])), keep_dims=False)
    logits = ops.add(mean, total)
    images.output(0).set_names({INPUT})
    logits.output(0).set_names({OUTPUT})
    openvino.save_model(openvino.Model([logits], [images], "model"), folder / "model.xml")
    return (folder / "model.xml").read_bytes(), (folder / "model.bin").read_bytes()


@pytest.mark.slow
def test_a_model_that_multiplies_constants_is_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CONVSMITH_MODEL_LIMIT", "0.1")
    with pytest.raises(ConvsmithError, match="OpenVINO cannot open it within 3 seconds and 0 GiB"):
        try_model(*saved(200, tmp_path))


def test_a_model_that_takes_a_moment_passes(tmp_path: Path) -> None:
    xml, weights = saved(0, tmp_path)
    try_model(xml, weights)
    logits = OpenVinoRuntime(xml, weights).run(np.full((1, 3, 8, 8), 100, np.uint8))
    np.testing.assert_allclose(logits, [[[[101]]]], rtol=1e-2)


def test_what_openvino_refuses_is_its_error() -> None:
    with pytest.raises(ConvsmithError, match="OpenVINO cannot load the model: "):
        try_model(b"<net/>", b"")


def test_without_a_limit_nothing_is_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[object] = []
    monkeypatch.setattr("subprocess.run", lambda *words, **_: started.append(words))
    monkeypatch.setenv("CONVSMITH_MODEL_LIMIT", "0")
    try_model(b"<net/>", b"")
    assert not started
