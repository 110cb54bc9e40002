"""The one preprocessing: validation during training, predict and serve all call this function."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from convsmith.bundle.images.bands import decode, of_pillow
from convsmith.bundle.images.decode import Picture, as_pillow
from convsmith.bundle.images.image_error import ImageError, ImageTooLarge
from convsmith.bundle.images.limits import MAX_PIXELS
from convsmith.bundle.images.read_bytes import read_bytes, read_stream
from convsmith.bundle.images.scaling import fitted
from convsmith.spec import RGB, Bands, Preprocess, Preprocessing

ImageSource = str | os.PathLike[str] | bytes | IO[bytes] | Image.Image | NDArray[Any] | Callable[[], bytes]

_RESAMPLING = {
    "nearest": Image.Resampling.NEAREST,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
}


def read_and_preprocess(image: ImageSource, spec: Preprocessing, name: str = "image") -> NDArray[np.uint8]:
    """The model's input [C, crop, crop] by `preprocess`, or a `whole` image as it is, [C, H, W].

    The image is a path, the bytes of an image file, a file open for reading bytes, a function that gives the bytes of
    an image file, any Pillow image, or an array: RGB pixels uint8 [H, W, 3], or what a file has for a model of other
    channels or of a range. Errors call it `name` where it has none of its own.

    Raises:
        ImageError: it cannot be read.
    """
    name = name_of(image, name)
    if isinstance(image, str | os.PathLike):
        picture: Picture = decode(read_bytes(Path(image)), name, spec.bands)
    elif isinstance(image, bytes | bytearray | memoryview):
        picture = decode(bytes(image), name, spec.bands)
    elif callable(image):
        picture = decode(image(), name, spec.bands)
    elif isinstance(image, Image.Image):
        picture = of_pillow(image, name, spec.bands)
    elif isinstance(image, np.ndarray) and _is_picture(image, spec.bands):
        picture = image if spec.bands == RGB else fitted(image, name, spec.bands)
    elif not isinstance(image, np.ndarray) and hasattr(image, "read"):
        picture = decode(read_stream(image, name), name, spec.bands)
    else:
        kind = f"{image.dtype} array of shape {image.shape}" if isinstance(image, np.ndarray) else type(image)
        pixels = f"uint8 pixels [H, W, {spec.bands.channels}]"
        raise ImageError(f"cannot read {name}", f"it is a {kind}", f"Pass a path, bytes, or {pixels}.")
    return as_input(picture, spec, name)


def _is_picture(values: NDArray[Any], bands: Bands) -> bool:
    """Whether an array may be an image."""
    if bands == RGB:
        return values.dtype == np.uint8 and values.shape[2:] == (3,) and values.size > 0
    return values.dtype.kind in "uif" and values.ndim in (2, 3) and values.size > 0


def as_input(picture: Picture, spec: Preprocessing, name: str = "image") -> NDArray[np.uint8]:
    """Make the input of `read_and_preprocess` of what `decode` gives."""
    if isinstance(spec, Preprocess):
        return preprocess(picture, spec, name)
    return np.ascontiguousarray(np.asarray(picture).transpose(2, 0, 1))


def is_one_image(value: object) -> bool:
    """Whether this is one image, or a file of one, rather than several."""
    if isinstance(value, np.ndarray):
        return value.ndim in (2, 3)
    return isinstance(value, str | os.PathLike | bytes | bytearray | memoryview | Image.Image) or (
        hasattr(value, "read") or callable(value)
    )


def name_of(image: object, otherwise: str) -> str:
    """The name of an image in errors: its path, if it is or knows one."""
    if isinstance(image, str | os.PathLike):
        return os.fspath(image)
    known = getattr(image, "name", None)  # of a file; a number where it was opened by one
    return known if isinstance(known, str) and known else otherwise


def preprocess(image: Picture, spec: Preprocess, name: str = "image") -> NDArray[np.uint8]:
    """The model's input [C, crop, crop] in 0 to 255, from pixels [H, W, C] or a Pillow image of mode RGB.

    `spec.method` names one of the three rules that published accuracies were measured with, each equal to the last bit
    to its original on Pillow images:

    - `resize_then_crop`, torchvision's `Resize(resize)` and `CenterCrop(crop)`: the shorter side becomes `resize`, then
      the centre is cut out; where the image is smaller than the crop, it is padded with black.
    - `crop_then_resize`, ResNeSt's `ECenterCrop` (resnest/torch/transforms): a central square of `crop / resize` of the
      shorter side is cut out and resized to `crop`.
    - `warp`, ConvNeXt's rule from 384 pixels on (datasets.py): both sides become `crop`, whatever the image's shape.

    Normalisation is part of the model.

    Raises:
        ImageTooLarge: a strip so long and thin that the resized image would have more than `MAX_PIXELS` pixels.
    """
    if isinstance(image, np.ndarray) and image.shape[2] != 3:  # channel by channel, as Pillow itself resizes RGB
        return np.concatenate([_preprocess(Image.fromarray(image[:, :, i]), spec, name) for i in range(image.shape[2])])
    return _preprocess(as_pillow(image), spec, name)


def _preprocess(picture: Image.Image, spec: Preprocess, name: str) -> NDArray[np.uint8]:
    resampling = _RESAMPLING[spec.interpolation]
    if spec.method == "resize_then_crop":
        picture = _resize_then_crop(picture, spec, resampling, name)
    else:
        if spec.method == "crop_then_resize":  # not by resize's `box`, which rounds otherwise
            picture = picture.crop(_central_square(*picture.size, spec.crop / spec.resize))
        picture = picture.resize((spec.crop, spec.crop), resampling)
    pixels = np.asarray(picture)
    return np.ascontiguousarray(np.atleast_3d(pixels).transpose(2, 0, 1))


def _resize_then_crop(picture: Image.Image, spec: Preprocess, resampling: Image.Resampling, name: str) -> Image.Image:
    check_size(picture.width, picture.height, spec, name)
    size = _resized(picture.width, picture.height, spec.resize)
    if size != picture.size:
        picture = picture.resize(size, resampling)
    left, top = _offset(picture.width, spec.crop), _offset(picture.height, spec.crop)
    return picture.crop((left, top, left + spec.crop, top + spec.crop))  # Pillow fills with black outside


def check_size(width: int, height: int, spec: Preprocessing, name: str = "image") -> None:
    """Raise the ImageTooLarge that `as_input` would for an image of this size."""
    if spec.method != "resize_then_crop":
        return
    size = _resized(width, height, spec.resize)
    if size[0] * size[1] > MAX_PIXELS:
        raise ImageTooLarge(
            f"{name} is too large",
            f"its {width} x {height} pixels would be resized to {size[0]} x {size[1]}",
            "Cut it into parts that are less long and thin.",
        )


def _resized(width: int, height: int, short: int) -> tuple[int, int]:
    """Size with a shorter side of `short`; the longer one is rounded down, as torchvision does."""
    if width <= height:
        return short, int(short * height / width)
    return int(short * width / height), short


def _offset(length: int, crop: int) -> int:
    """Where the crop starts; negative where padding is needed. Rounding is torchvision's: half to even, then down."""
    return round((length - crop) / 2) if length >= crop else -((crop - length) // 2)


def _central_square(width: int, height: int, share: float) -> tuple[int, int, int, int]:
    """Box of a square in the centre with `share` of the shorter side, at least a pixel.

    Corners are rounded as in the official code: half to even, the right and lower ones from the rounded left and upper.
    """
    side = share * min(width, height)
    left, top = round((width - side) / 2), round((height - side) / 2)
    return left, top, max(left + 1, round(left + side)), max(top + 1, round(top + side))
