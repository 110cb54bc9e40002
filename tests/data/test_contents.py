"""Images and masks that are not files."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from convsmith.bundle.images.image_error import ImageError
from convsmith.data.checks.check import check_files
from convsmith.data.contents import Content
from convsmith.data.index import Index, IndexBuilder
from convsmith.data.masks.mask_file import MaskRules
from convsmith.data.masks.pairs import PairIndex
from tests.data.folders import png
from tests.data.masks import plain


@dataclass(frozen=True)
class InMemory:
    """`Contents` without a file."""

    held: tuple[bytes, ...]
    shards: None = None
    weights: None = None
    groups: None = None

    def __len__(self) -> int:
        return len(self.held)

    def __getitem__(self, i: int) -> Content:
        return Content(f"image {i} of the list", lambda: io.BytesIO(self.held[i]))

    @property
    def key(self) -> tuple[NDArray[np.uint64]]:
        return (self.names,)

    @property
    def names(self) -> NDArray[np.uint64]:
        return np.arange(len(self), dtype=np.uint64)

    @property
    def stats(self) -> NDArray[np.int64]:
        return np.array([(len(content), 0) for content in self.held], np.int64)

    def select(self, indices: Sequence[int] | NDArray[np.int64]) -> InMemory:
        return InMemory(tuple(self.held[i] for i in indices))


def test_an_image_that_is_not_a_file_is_read_with_its_class() -> None:
    picture, target = Index(InMemory((b"", png((1, 2, 3)))), np.array([0, 4])).read(1)
    assert (np.asarray(picture)[0, 0].tolist(), target) == ([1, 2, 3], 4)


def test_a_pair_that_is_not_files_is_read() -> None:
    pairs = PairIndex(InMemory((png(),)), InMemory((plain(1),)), MaskRules({1: 1}))
    assert pairs.read(0)[1].tolist() == [[1] * 6] * 4


@pytest.mark.parametrize("decode", [True, False])
def test_a_look_at_what_is_not_a_file_tells_its_size_and_names_what_is_bad(decode: bool) -> None:
    samples = Index(InMemory((png(size=(5, 3)), b"text")), np.array([0, 1]))
    assert (samples.look(0, decode).height, samples.look(0, decode).width) == (3, 5)
    with pytest.raises(ImageError, match="cannot read image 1 of the list: it is not an image"):
        samples.look(1, decode)


def test_bad_ones_are_found_by_their_names() -> None:
    assert [bad.path for bad in check_files(Index(InMemory((png(), b"")), np.array([0, 1])))] == ["image 1 of the list"]


class Counted(io.FileIO):
    """Counts the bytes that are read."""

    count = 0

    def readinto(self, buffer: Any, /) -> int | None:
        found = super().readinto(buffer)
        self.count += found or 0
        return found


def test_the_header_of_a_file_is_looked_at_without_reading_the_rest(tmp_path: Path) -> None:
    path = tmp_path / "noise.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (300, 200, 3), dtype=np.uint8)).save(path)
    file = Counted(path)
    assert Content("noise", lambda: io.BufferedReader(file)).check_header() == (200, 300)
    assert 0 < file.count < path.stat().st_size / 5


def opened(content: bytes) -> Content:
    return Content("content", lambda: io.BytesIO(content))


@pytest.mark.parametrize("other", [b"a" * 70_000 + b"c", b"a" * 70_001, b"a" * 70_000, b"", b"c" + b"a" * 70_000])
def test_contents_that_differ_anywhere_are_not_equal(other: bytes) -> None:
    one = b"a" * 70_000 + b"b"
    assert opened(one).equals(opened(one))
    assert not opened(one).equals(opened(other))
    assert not opened(other).equals(opened(one))


def test_what_cannot_be_read_equals_nothing(tmp_path: Path) -> None:
    missing = Content.of_file(tmp_path / "none")
    assert not missing.equals(missing)


def test_the_digest_of_images_in_folders_is_that_of_their_paths_and_classes() -> None:
    builder = IndexBuilder(Path("/data"))
    builder.add(0, [b"cat/1.png"])
    builder.add(1, [b"dog/10.png"])
    numbers = [(0, 9, 19), (0, 1)]
    expected = b"cat/1.pngdog/10.png" + b"".join(np.array(row, np.int64).tobytes() for row in numbers)
    assert builder.build().digest() == hashlib.sha256(expected).hexdigest()
