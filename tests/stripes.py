"""A bundle for segmentation whose masks a reader can see: each pixel is its strongest colour, red, green or blue."""

from __future__ import annotations

import io
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

from convsmith.spec import WholeImage
from tests.colours import LABELS, write_colour_bundle

SIZE = (9, 15)  # height and width, odd on purpose


def pixel_colour_model(classes: int = 3) -> bytes:
    """An ONNX model: each colour of a pixel, times a tenth, is its logit; further classes get 0."""
    weights = np.zeros((classes, 3, 1, 1), np.float32)
    np.fill_diagonal(weights[..., 0, 0], 0.1)
    nodes = [
        helper.make_node("Cast", ["images"], ["floats"], to=TensorProto.FLOAT),
        helper.make_node("Conv", ["floats", "weights"], ["logits"]),
    ]
    graph = helper.make_graph(
        nodes,
        "pixels",
        [helper.make_tensor_value_info("images", TensorProto.UINT8, ["N", 3, "H", "W"])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["N", classes, "H", "W"])],
        [numpy_helper.from_array(weights, "weights")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    content: bytes = model.SerializeToString()
    return content


def write_pixel_bundle(directory: Path, **changes: Any) -> Path:
    """Write that model as a bundle; `changes` replace the model, or what its `Card` says."""
    arguments: dict[str, Any] = {
        "task": "segmentation",
        "model": pixel_colour_model(),
        "preprocess": WholeImage(method="whole"),
        "metrics": {"miou": 1.0},
    }
    return write_colour_bundle(directory, **(arguments | changes))


def stripes(*colours: str, size: tuple[int, int] = SIZE) -> NDArray[np.uint8]:
    """RGB pixels [H, W, 3]: upright stripes of these colours, equally wide but for what does not divide."""
    names = [Image.new("RGB", (1, 1), colour).getpixel((0, 0)) for colour in colours]
    return np.tile(np.array(names, np.uint8)[_stripe_of(len(colours), size[1])], (size[0], 1, 1))


def stripes_png(*colours: str, size: tuple[int, int] = SIZE) -> bytes:
    """`stripes` as the bytes of a PNG file."""
    content = io.BytesIO()
    Image.fromarray(stripes(*colours, size=size)).save(content, "PNG")
    return content.getvalue()


def stripes_mask(*colours: str, size: tuple[int, int] = SIZE) -> NDArray[np.uint8]:
    """The class of each pixel of `stripes`, [H, W]."""
    classes = np.array([LABELS.index(colour) for colour in colours], np.uint8)
    return np.tile(classes[_stripe_of(len(colours), size[1])], (size[0], 1))


def write_stripes(root: Path, part: str, scenes: Iterable[tuple[str, ...]]) -> Path:
    """Write each scene as images/PART/N.png with its true mask as masks/PART/N.png, and classes.txt."""
    for folder in ("images", "masks"):
        (root / folder / part).mkdir(parents=True, exist_ok=True)
    for number, colours in enumerate(scenes):
        (root / "images" / part / f"{number}.png").write_bytes(stripes_png(*colours))
        Image.fromarray(stripes_mask(*colours)).save(root / "masks" / part / f"{number}.png")
    (root / "classes.txt").write_text("".join(f"{label}\n" for label in LABELS))
    return root


def write_large_stripes(root: Path, part: str) -> int:
    """Write the scene 0 anew, larger than the others; returns how many pixels those may have at most."""
    (root / "images" / part / "0.png").write_bytes(stripes_png("red", "green", "blue", size=(20, 20)))
    Image.fromarray(stripes_mask("red", "green", "blue", size=(20, 20))).save(root / "masks" / part / "0.png")
    return SIZE[0] * SIZE[1]


def _stripe_of(count: int, width: int) -> NDArray[np.int64]:
    return np.arange(width) * count // width
