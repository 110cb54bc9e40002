"""One look at a sample: whether it can be read, its size, a mask's pixels, and what tells copies apart."""

from __future__ import annotations

import io
from dataclasses import dataclass, field
from typing import Protocol, Self

import numpy as np
from numpy.typing import NDArray
from PIL.Image import Image

from convsmith.bundle.images.bands import read_header
from convsmith.bundle.images.decode import Picture, for_eyes, format_and_mode, size_of
from convsmith.bundle.images.image_error import ImageError
from convsmith.bundle.images.jpeg import is_garbled
from convsmith.data.checks.kinds import kind_number
from convsmith.data.checks.prints import PRINT, print_of
from convsmith.data.checks.signs import is_plain, signs_of
from convsmith.spec import RGB, Bands

ROW = np.dtype(
    [
        ("name", np.uint64),  # a hash of the paths below the data's root
        ("stamp", np.uint64),  # of the sizes and times of the files
        ("content", np.uint64, (2,)),  # of the size and both ends of each file
        ("height", np.int32),  # of the upright image; 0 where it cannot be used
        ("width", np.int32),
        ("kind", np.uint8),  # of the image's file, see `kind_name`
        ("signs", np.uint8),  # of a picture that is none, see `signs`; 0 where it was not decoded
    ]
)
PIXELS = np.dtype([("name", np.uint64), ("target", np.uint8), ("count", np.int64)])


@dataclass(frozen=True)
class Seen:
    """Facts about a sample.

    Attributes:
        height: of the upright image in pixels.
        width: of it.
        content: the `hash_of_ends` of image and mask.
        kind: format and mode of the image's file, such as `("JPEG", "RGB")`.
        picture: the image, where it was decoded.
        garbled: whether a part of it is made up, since its file is damaged.
        pixels: of a mask: how many there are of each class, int64 `[256]`, 255 being those that do not count.
    """

    height: int
    width: int
    content: tuple[int, ...]
    kind: tuple[str, str]
    picture: Picture | None = None
    garbled: bool = False
    pixels: NDArray[np.int64] | None = None

    @classmethod
    def closely(
        cls,
        data: bytes,
        picture: Picture,
        content: tuple[int, ...],
        bands: Bands,
        pixels: NDArray[np.int64] | None = None,
    ) -> Self:
        """The facts about a sample whose image was decoded from these bytes."""
        width, height = size_of(picture)
        kind = format_and_mode(data) if bands == RGB else read_header(io.BytesIO(data), "image", bands)[2:]
        garbled = kind[0] in ("JPEG", "MPO") and isinstance(picture, Image) and is_garbled(data)  # else it is an array
        return cls(height, width, content, kind, for_eyes(picture), garbled, pixels)


class Visible(Protocol):
    """Samples that can be looked at."""

    def __len__(self) -> int: ...

    def name(self, i: int) -> str:
        """The name of sample i in messages."""

    def look(self, i: int, closely: bool, bands: Bands = RGB) -> Seen:
        """Look at sample i, or raise the ImageError that reading it would.

        Args:
            i: its number.
            closely: read all of it, or only as much as tells that.
            bands: what is read of its image.
        """


@dataclass(frozen=True)
class Looks:
    """Facts about some samples that a look at them told.

    Attributes:
        rows: of each sample, of type `ROW`.
        pixels: of each class in each mask that there is any of, of type `PIXELS`.
        bad: position to the error, of samples that cannot be used.
        prints: of each sample, of type `PRINT`, where they were asked for; else there are none at all.
    """

    rows: NDArray[np.void]
    pixels: NDArray[np.void]
    bad: dict[int, ImageError]
    prints: NDArray[np.void] = field(default_factory=lambda: np.empty(0, PRINT))


def look_at(
    samples: Visible, decode: bool, named: NDArray[np.void], with_prints: bool = False, bands: Bands = RGB
) -> Looks:
    """Look at each of a few samples.

    Args:
        samples: what is looked at.
        decode: read all of each, or only as much as tells the most.
        named: their rows `[N]`, in which names and stamps are filled in.
        with_prints: take the print of each image that is decoded.
        bands: what is read of each image.
    """
    rows, pixels, bad = named.copy(), [], {}
    prints = np.zeros(len(samples) if with_prints else 0, PRINT)
    for i in range(len(samples)):
        try:
            seen = samples.look(i, decode, bands)
        except ImageError as error:
            bad[i] = error
            continue
        except OSError as error:  # it has gone since
            bad[i] = ImageError(f"cannot read {samples.name(i)}", (error.strerror or str(error)).lower())
            continue
        rows["height"][i], rows["width"][i] = seen.height, seen.width
        rows["content"][i, : len(seen.content)] = seen.content
        rows["kind"][i] = kind_number(*seen.kind)
        if seen.picture is not None:
            rows["signs"][i] = signs_of(seen.picture, seen.garbled)
            if with_prints and not is_plain(rows["signs"][i]):
                prints[i] = print_of(seen.picture)
        if seen.pixels is not None:
            pixels += [(rows["name"][i], target, seen.pixels[target]) for target in np.flatnonzero(seen.pixels)]
    return Looks(rows, np.array(pixels, PIXELS), bad, prints)
