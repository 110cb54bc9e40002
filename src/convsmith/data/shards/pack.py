"""Writing any data as tar shards in WebDataset's layout: the same bytes each time."""

from __future__ import annotations

import io
import json
import re
import tarfile
from collections import deque
from collections.abc import Generator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

from convsmith.bundle.images.bands import read_header
from convsmith.bundle.images.decode import as_pillow
from convsmith.data.classes import CLASSES_FILE
from convsmith.data.dataset import DataSet, Samples
from convsmith.data.exporting import ending_of, stem_of, text_of_classes
from convsmith.data.group_split import Groups
from convsmith.data.shards.sample_texts import is_word
from convsmith.data.shards.tar_members import BLOCK
from convsmith.errors import ConvsmithError, printable
from convsmith.machine import available_cores
from convsmith.progress import ProgressCallback, no_progress
from convsmith.spec import RGB, Bands
from convsmith.storage import new_directory
from convsmith.waiting import reading_in_time

_LOSSY = ("JPEG", "MPO", "WEBP", "AVIF", "HEIF")
_QUALITY = 95

Encoded = dict[str, bytes]
"""The members of one sample, by what follows the first dot of their names."""


@dataclass
class Packed:
    """Shards that were written.

    Attributes:
        samples: how many there are of each split.
        shards: how many files hold them.
        size: bytes of these.
    """

    samples: dict[str, int] = field(default_factory=dict)
    shards: dict[str, int] = field(default_factory=dict)
    size: int = 0


def pack(
    dataset: DataSet,
    out: Path,
    shard_size: int,
    resize: int | None = None,
    progress: ProgressCallback = no_progress,
    *,
    bands: Bands = RGB,
) -> Packed:
    """Write a data set as `OUT/train-000000.tar` ..., `OUT/val-000000.tar` ... and `OUT/classes.txt`.

    Samples stand in the order of a hash of their names, so that each shard has some of all classes, and the same data
    give the same bytes. Images are copied as they are; several labels become a list in a .json; masks become grey PNG
    files of class numbers, 255 where pixels do not count; weights and groups become text. `out` is there at once when
    all is written, and not before.

    Args:
        dataset: what is written: its `train`, and its `val` as far as there is any.
        out: a folder that is not there, or is empty.
        shard_size: bytes of a shard at most, unless one sample alone has more.
        resize: the shorter side of larger images in pixels; None leaves all as they are.
        progress: called with how many samples are done, of how many, as work of the name `pack`.
        bands: which pixels the images are read for.

    Raises:
        ImageError: an image or a mask cannot be read; it names it.
        ConvsmithError: `out` holds something, or lies among the data; or images would lose channels or bits.
    """
    if resize is not None and bands != RGB:
        raise ConvsmithError(
            "images of other channels or bits are not made smaller",
            "what is written anew is RGB of 8 bits",
            "Leave out --resize: images are copied as they are.",
        )
    names = text_of_classes(dataset, out)
    packed, splits, done = Packed(), {"train": dataset.train, "val": dataset.val}, 0
    for samples in splits.values():
        _check_groups(samples.groups, dataset.root)
    total = sum(map(len, splits.values()))
    with new_directory(out) as folder:
        (folder / CLASSES_FILE).write_text(names, "utf-8", newline="\n")
        for split, samples in splits.items():
            with (
                _Writer(folder, split, shard_size) as writer,
                closing(_encoded(samples, resize, dataset.classes, bands)) as encoded,
            ):
                for i, (stem, parts) in enumerate(encoded):
                    writer.add(f"{i:08}-{stem}", parts)
                    done += 1
                    progress("pack", done, total)
            packed.samples[split], packed.shards[split] = len(samples), writer.shards
        packed.size = sum(path.stat().st_size for path in folder.glob("*.tar"))
    return packed


def _check_groups(groups: Groups | None, root: Path) -> None:
    """Raise a ConvsmithError for a group whose name shards cannot hold."""
    for name in () if groups is None else groups.names:
        if not is_word(name):
            raise ConvsmithError(
                f"the group `{printable(name)}` of {printable(root)} cannot be packed",
                "in a shard it is text in UTF-8, 1,024 bytes at most, without white space around it",
                "Rename the group, or the files whose names tell it.",
            )


class _Writer:
    """Writes the shards of one split."""

    def __init__(self, folder: Path, split: str, shard_size: int) -> None:
        self._folder, self._split, self._most = folder, split, shard_size
        self._open = ExitStack()
        self._archive: tarfile.TarFile | None = None
        self._left = 0
        self.shards = 0

    def __enter__(self) -> _Writer:
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    def add(self, key: str, parts: Encoded) -> None:
        """Append a sample, to a new shard where it would make this one too large."""
        size = sum(BLOCK + -(-len(content) // BLOCK) * BLOCK for content in parts.values())
        if self._archive is None or size > self._left:
            self._open.close()
            path = self._folder / f"{self._split}-{self.shards:06}.tar"
            self._archive = self._open.enter_context(_new_archive(path))
            self._left = self._most - tarfile.RECORDSIZE  # the end, and what fills it up
            self.shards += 1
        self._left -= size
        for ending, content in parts.items():
            member = tarfile.TarInfo(f"{key}.{ending}")  # no time, no owner: the same bytes each time
            member.size = len(content)
            self._archive.addfile(member, io.BytesIO(content))


def _encoded(
    samples: Samples, resize: int | None, classes: Sequence[str], bands: Bands
) -> Generator[tuple[str, Encoded]]:
    """The stem of the name and the members of each sample, in the order that they are written in."""
    cores = available_cores()
    several = bool(len(samples)) and np.ndim(samples.read(0, bands)[1]) == 1
    with ThreadPoolExecutor(cores) as pool:  # Pillow works without the interpreter's lock
        waiting: deque[Future[tuple[str, Encoded]]] = deque()
        try:
            for i in np.argsort(samples.names, kind="stable").tolist():
                work = partial(_encode, samples, i, resize, classes if several else (), bands)
                waiting.append(pool.submit(reading_in_time, work))
                if len(waiting) > 2 * cores:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            pool.shutdown(cancel_futures=True)


def _encode(samples: Samples, i: int, resize: int | None, names: Sequence[str], bands: Bands) -> tuple[str, Encoded]:
    image, *masks = samples.contents(i)
    content = image.read()
    width, height, kind, _ = read_header(io.BytesIO(content), image.name, bands)
    ending = ending_of(kind)
    parts: Encoded = {}
    target = samples.read(i, bands)[1] if masks or names else None
    if resize is not None and min(width, height) > resize:
        pixels = as_pillow(samples.read(i)[0])
        factor = resize / min(pixels.size)
        size = (round(pixels.width * factor), round(pixels.height * factor))
        kind = "JPEG" if kind in _LOSSY else "PNG"
        ending = kind.lower().replace("e", "")
        content = _file(pixels.resize(size, Image.Resampling.LANCZOS), kind)
        if masks and target is not None:
            target = np.asarray(Image.fromarray(target).resize(size, Image.Resampling.NEAREST))
    parts[ending] = content
    if target is None:
        parts["cls"] = str(samples.targets[i]).encode()
    elif names:
        labels = [names[k] for k in np.flatnonzero(target).tolist()]
        parts["json"] = json.dumps({"labels": labels}, ensure_ascii=False).encode()
    else:
        parts["mask.png" if ending in ("png", "npy") else "png"] = _file(Image.fromarray(target), "PNG")
    if samples.weights is not None and not np.isnan(samples.weights[i]):
        parts["weight"] = repr(float(samples.weights[i])).encode()
    if samples.groups is not None:
        parts["group"] = samples.groups.names[samples.groups.of[i]].encode()
    return re.sub(r"[^A-Za-z0-9_]+", "-", stem_of(image.name))[:40], parts


def _file(picture: Image.Image, kind: str) -> bytes:
    content = io.BytesIO()
    picture.save(content, kind, **({"quality": _QUALITY} if kind == "JPEG" else {}))
    return content.getvalue()


def _new_archive(path: Path) -> tarfile.TarFile:
    return tarfile.open(path, "x", format=tarfile.USTAR_FORMAT)
