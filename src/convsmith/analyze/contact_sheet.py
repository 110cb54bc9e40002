"""A contact sheet: training images as they are learned from, each with its target."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from convsmith.bundle.images.decode import for_eyes
from convsmith.bundle.segmentation import voc_colours
from convsmith.data.channel_mean import with_measured_mean
from convsmith.data.dataset import DataSet
from convsmith.errors import ConvsmithError
from convsmith.recipe.schema import Recipe
from convsmith.spec import IGNORED
from convsmith.storage import write_file
from convsmith.words import for_terminal

if TYPE_CHECKING:
    from torch import Tensor

TILES = 24
_COLUMNS, _SIDE, _LINE, _GAP = 6, 160, 16, 8  # pixels, but for the columns
_TRIED = 100  # images in place of one that cannot be read
_LETTERS = 24  # of a caption
_ALPHA = 0.5  # of the colours of classes over an image
_GREY = (128, 128, 128)  # of pixels that do not count
_SUFFIXES = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG"}


@dataclass(frozen=True)
class Tile:
    """One training image.

    Attributes:
        pixels: RGB uint8 `[H, W, 3]`, with the colours of its mask over it where it has one.
        caption: its class, its classes, or the largest classes of its mask.
    """

    pixels: NDArray[np.uint8]
    caption: str


def training_tiles(dataset: DataSet, recipe: Recipe) -> list[Tile]:
    """The first images of a training, as it augments them in its first epoch; mixing comes later, and is not in them.

    Raises:
        ConvsmithError: none of them can be read.
    """
    from convsmith.data.loading.loader import raise_on_bad, train_loader
    from convsmith.data.loading.sampler import StepSampler, Windows

    recipe = with_measured_mean(recipe, dataset.train)
    samples, size = dataset.train, min(TILES, len(dataset.train))
    sampler = StepSampler(
        samples.targets,
        recipe.sampling,
        seed=recipe.seed,
        effective_batch=size,
        per_device_batch=size,
        steps_per_epoch=1,
        first_step=0,
        last_step=1,
        windows=None if samples.shards is None else Windows(samples.shards, recipe.data.window),
        weights=samples.weights,
    )
    read = dataset.training_reader("train", recipe.augment, recipe.preprocess)
    (batch,) = train_loader(samples, read, sampler, seed=recipe.seed, attempts=_TRIED, workers=0)
    if not len(batch.targets):
        raise_on_bad(batch)
    return [_tile(image, target, dataset) for image, target in zip(batch.images, batch.targets, strict=True)]


def draw_sheet(tiles: Sequence[Tile]) -> Image.Image:
    """All tiles on one picture, in rows of six, with their captions below them."""
    rows = -(-len(tiles) // _COLUMNS)
    width, height = _SIDE + _GAP, _SIDE + _LINE + _GAP
    sheet = Image.new("RGB", (_COLUMNS * width + _GAP, rows * height + _GAP), "white")
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(_LINE - 4)
    for number, tile in enumerate(tiles):
        left, top = _GAP + number % _COLUMNS * width, _GAP + number // _COLUMNS * height
        picture = fitted(Image.fromarray(tile.pixels), _SIDE)
        sheet.paste(picture, (left + (_SIDE - picture.width) // 2, top + (_SIDE - picture.height) // 2))
        pen.text((left, top + _SIDE), for_terminal(tile.caption)[:_LETTERS], "black", font)
    return sheet


def fitted(picture: Image.Image, side: int) -> Image.Image:
    """The picture, its longer side scaled to `side` pixels; small ones grow by whole pixels."""
    scale = side / max(picture.size)
    size = max(1, round(picture.width * scale)), max(1, round(picture.height * scale))
    return picture.resize(size, Image.Resampling.NEAREST if scale >= 2 else Image.Resampling.BICUBIC)


def write_sheet(tiles: Sequence[Tile], out: Path) -> None:
    """Write the sheet as a PNG or a JPEG, by the ending of the name.

    Raises:
        ConvsmithError: it has another ending.
    """
    kind = _SUFFIXES.get(out.suffix.lower())
    if kind is None:
        raise ConvsmithError(f"{out} does not end in .png or .jpg", fix="Name a file that does.")
    file = io.BytesIO()
    draw_sheet(tiles).save(file, kind, quality=90)
    write_file(out, file.getvalue())


def named_classes(target: Any, classes: Sequence[str]) -> str:
    """The classes of a target, in words.

    Args:
        target: the number of a class, 0 and 1 for each class, or a mask, whose largest class comes first.
        classes: their names.
    """
    if np.ndim(target) == 0:
        return classes[int(target)]
    if np.ndim(target) == 1:
        members = np.flatnonzero(target)
    else:
        counts = np.bincount(target.ravel(), minlength=IGNORED + 1)[: len(classes)]
        members = np.argsort(-counts, kind="stable")[: np.count_nonzero(counts)]
    return ", ".join(classes[member] for member in members.tolist()) or "none"


def _tile(image: Tensor, target: Tensor, dataset: DataSet) -> Tile:
    pixels = np.array(for_eyes(image.permute(1, 2, 0).numpy()))
    if target.ndim < 2:  # a class, or 0 and 1 for each class
        return Tile(pixels, named_classes(target.numpy(), dataset.classes))
    mask = np.asarray(Image.fromarray(target.numpy()).resize(pixels.shape[1::-1], Image.Resampling.NEAREST))
    return Tile(_coloured(pixels, mask, dataset), named_classes(mask, dataset.classes))


def _coloured(pixels: NDArray[np.uint8], mask: NDArray[np.uint8], dataset: DataSet) -> NDArray[np.uint8]:
    """The colours of the classes over an image, grey where pixels do not count."""
    colours = np.full((IGNORED + 1, 3), _GREY, np.uint8)
    colours[: len(dataset.classes)] = dataset.colours or voc_colours(len(dataset.classes))
    return np.asarray(Image.blend(Image.fromarray(pixels), Image.fromarray(colours[mask]), _ALPHA))
