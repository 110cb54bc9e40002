"""Writing images and masks of any source as a folder of images and one of masks: the same bytes each time."""

from __future__ import annotations

import io
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from PIL import Image

from convsmith.bundle.images.bands import read_header
from convsmith.data.classes import CLASSES_FILE
from convsmith.data.dataset import DataSet
from convsmith.data.exporting import ending_of, stem_of, text_of_classes
from convsmith.data.masks.mask_data import MaskData
from convsmith.data.masks.mask_file import read_mask_of
from convsmith.data.masks.pairs import PairIndex
from convsmith.errors import ConvsmithError, printable
from convsmith.machine import available_cores
from convsmith.progress import ProgressCallback, no_progress
from convsmith.spec import RGB, Bands
from convsmith.storage import new_directory
from convsmith.waiting import reading_in_time

_LONGEST = 200  # bytes of a name


def convert(
    dataset: DataSet, out: Path, progress: ProgressCallback = no_progress, bands: Bands = RGB
) -> dict[str, int]:
    """Write `OUT/images/train/NAME.jpg` with `OUT/masks/train/NAME.png`, the same of `val`, and `OUT/classes.txt`.

    Images are copied as they are; masks become grey PNG files of class numbers, 255 where pixels do not count. `out` is
    there at once when all is written, and not before.

    Args:
        dataset: images with masks: its `train`, and its `val` as far as there is any.
        out: a folder that is not there, or is empty.
        progress: called with how many pairs are done, of how many, as work of the name `convert`.
        bands: which pixels the images are read for.

    Returns:
        How many pairs there are of each split.

    Raises:
        ImageError: an image or a mask cannot be read; it names it.
        ConvsmithError: the data have no masks, or `out` holds something, or lies among the data.
    """
    if not isinstance(dataset, MaskData):
        why = f"{printable(dataset.root)} holds images without masks"
        raise ConvsmithError("only images with masks are converted", why, "Use `convsmith data pack` for others.")
    classes = text_of_classes(dataset, out)
    parts = {split: pairs for split, pairs in (("train", dataset.train), ("val", dataset.val)) if len(pairs)}
    total, done = sum(map(len, parts.values())), 0
    with new_directory(out) as folder, ThreadPoolExecutor(available_cores()) as pool:
        (folder / CLASSES_FILE).write_text(classes, "utf-8", newline="\n")
        try:
            for split, pairs in parts.items():
                for kind in ("images", "masks"):
                    (folder / kind / split).mkdir(parents=True)
                write = _Writer(folder, split, pairs, bands)
                for _ in pool.map(write, range(len(pairs))):
                    done += 1
                    progress("convert", done, total)
        finally:
            pool.shutdown(cancel_futures=True)
    return {split: len(pairs) for split, pairs in parts.items()}


class _Writer:
    """Writes one pair of a split after another, called with its number."""

    def __init__(self, folder: Path, split: str, pairs: PairIndex, bands: Bands) -> None:
        self._images, self._masks = folder / "images" / split, folder / "masks" / split
        self._pairs, self._names, self._bands = pairs, _names(pairs), bands

    def __call__(self, i: int) -> None:
        reading_in_time(lambda: self._write(i))

    def _write(self, i: int) -> None:
        image, mask = self._pairs.contents(i)
        content, classes = image.read(), read_mask_of(image, mask, self._pairs.rules, self._bands)
        ending = ending_of(read_header(io.BytesIO(content), image.name, self._bands).format)
        (self._images / f"{self._names[i]}.{ending}").write_bytes(content)
        encoded = io.BytesIO()
        Image.fromarray(classes).save(encoded, "PNG")
        (self._masks / f"{self._names[i]}.png").write_bytes(encoded.getvalue())


def _names(pairs: PairIndex) -> list[str]:
    """The name of each pair: that of its image, and its number where that cannot be a name, or is that of another."""
    stems = [stem_of(pairs.name(i)) for i in range(len(pairs))]
    seen: set[str] = set()
    names = []
    for i, stem in enumerate(stems):
        usable = stem and not stem.startswith(".") and len(stem.encode("utf-8", "surrogateescape")) <= _LONGEST
        name = stem if usable and stem.casefold() not in seen else f"{stem if usable else ''}-{i:08}".lstrip("-")
        seen.add(name.casefold())
        names.append(name)
    return names
