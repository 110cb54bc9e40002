"""Scenes of real parts that come with this package: handwritten digits on photographs, with masks."""

from __future__ import annotations

import io
from importlib.resources import files
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from convsmith.bundle.segmentation import voc_colours
from convsmith.data.classes import CLASSES_FILE
from convsmith.data.demo import digit_pictures
from convsmith.errors import ConvsmithError, printable
from convsmith.randomness import Stream, counter_generator
from convsmith.spec import Size

TRAIN, VAL, SIZE = 240, 60, (96, 128)
CLASSES = ("background", *map(str, range(10)))

_PARTS = ("train", "val")
_PHOTOGRAPHS = {
    "train": ("astronaut", "coffee", "rocket", "hubble_deep_field", "immunohistochemistry", "grass"),
    "val": ("chelsea", "camera", "brick"),
}
_MOST_DIGITS = 5
_TRIES = 15  # to find places for them where no other digit is
_DIGIT_SIDES = (0.3, 0.7)  # relative to the shorter side of the scene
_BRIGHT = 160  # the least of red, green and blue of a digit
_CROP_SIDES = (0.4, 1.0)  # relative to the largest part of the photograph that has the shape of the scene


def write_digit_scenes(out: Path, train: int = TRAIN, val: int = VAL, size: Size = SIZE) -> dict[str, int]:
    """Write scenes as `OUT/images/PART/NNNN.jpg` with `OUT/masks/PART/NNNN.png`, and `OUT/classes.txt`.

    A scene shows one to five handwritten digits (see `demo.write_digits`) side by side, enlarged and in bright colours,
    on a darkened part of a photograph: easy enough for a small network and some minutes. In its mask the background is
    0 and the digit d is d + 1. Scenes for training and validation share neither photographs nor digits. A scene depends
    on its part, its number and the size only, so it is the same each time. Where `out` holds some of these very files,
    the rest is added.

    Args:
        out: the folder.
        train: number of scenes to train on.
        val: number of scenes to validate on.
        size: height and width in pixels, each at least 16.

    Returns:
        The number of scenes in `train` and in `val`.

    Raises:
        ConvsmithError: `out` holds anything else, or it cannot be written.
    """
    counts = dict(zip(_PARTS, (train, val), strict=True))
    painters = {part: _Painter(part, size) for part in _PARTS}
    scenes = [(part, number) for part, count in counts.items() for number in range(count)]
    names, listed = Path(CLASSES_FILE), "".join(f"{name}\n" for name in CLASSES).encode()
    try:
        present = {path.relative_to(out) for path in out.rglob("*") if not path.is_dir()} if out.is_dir() else set()
        ours = {names, *(path for scene in scenes for path in _paths(*scene))}
        same = present <= ours and (names not in present or (out / names).read_bytes() == listed)
        for part, number in scenes if same else ():
            if not present.isdisjoint(_paths(part, number)):
                files = painters[part].files(number)
                same &= all((out / path).read_bytes() == files[path] for path in present & files.keys())
        if not same:
            raise ConvsmithError(
                f"{printable(out)} is not empty", "it holds something else than these scenes", "Choose another folder."
            )
        for folder in {path.parent for path in ours}:
            (out / folder).mkdir(parents=True, exist_ok=True)
        (out / names).write_bytes(listed)
        for part, number in scenes:
            if not present.issuperset(_paths(part, number)):
                for path, content in painters[part].files(number).items():
                    (out / path).write_bytes(content)
    except OSError as error:
        raise ConvsmithError(
            f"cannot write to {printable(out)}", error.strerror or str(error), "Choose another folder."
        ) from error
    return counts


def _paths(part: str, number: int) -> tuple[Path, Path]:
    """Paths of the image and of the mask."""
    return Path("images", part, f"{number:04}.jpg"), Path("masks", part, f"{number:04}.png")


class _Painter:
    """Makes the scenes of one part."""

    def __init__(self, part: str, size: Size) -> None:
        self.part, self.size = part, size
        self.photographs = _photographs(part)
        self.digits = [(int(path.parts[1]), grey) for path, grey in digit_pictures().items() if path.parts[0] == part]

    def files(self, number: int) -> dict[Path, bytes]:
        """The content of the files of one scene: a JPEG, and a PNG with a palette."""
        image, mask = self.paint(number)
        mask_with_colours = Image.fromarray(mask)
        mask_with_colours.putpalette(np.array(voc_colours(len(CLASSES)), np.uint8).tobytes())
        encoded = io.BytesIO(), io.BytesIO()
        Image.fromarray(image).save(encoded[0], "JPEG", quality=95)
        mask_with_colours.save(encoded[1], "PNG")
        return dict(zip(_paths(self.part, number), (data.getvalue() for data in encoded), strict=True))

    def paint(self, number: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        """Image `[H, W, 3]` and mask `[H, W]`."""
        random = counter_generator(Stream.SCENE, _PARTS.index(self.part), number)
        image = self._background(random)
        mask = np.zeros(self.size, np.uint8)
        digits = random.randint(1, _MOST_DIGITS + 1)
        for _ in range(_TRIES):
            label, grey = self.digits[random.randint(len(self.digits))]
            side = max(8, round(random.uniform(*_DIGIT_SIDES) * min(self.size)))
            top, left = (random.randint(length - side + 1) for length in self.size)
            here = slice(top, top + side), slice(left, left + side)
            if mask[here].any():
                continue
            ink = np.asarray(Image.fromarray(grey).resize((side, side), Image.Resampling.BICUBIC), np.int64)
            ink = np.clip(2 * ink - 128, 0, 255)[..., None]  # a sharper edge
            colour = random.randint(_BRIGHT, 256, 3)
            image[here] = (image[here] * (255 - ink) + colour * ink + 127) // 255
            mask[here][ink[..., 0] > 127] = label + 1
            digits -= 1
            if not digits:
                break
        return image, mask

    def _background(self, random: np.random.RandomState) -> NDArray[np.uint8]:
        """A part of a photograph, of the scene's shape and brought to its size, at half its brightness."""
        height, width = self.size
        photograph = self.photographs[random.randint(len(self.photographs))]
        scale = random.uniform(*_CROP_SIDES) * min(photograph.width / width, photograph.height / height)
        left, top = (
            random.uniform(0, whole - part * scale)
            for whole, part in ((photograph.width, width), (photograph.height, height))
        )
        box = (left, top, left + width * scale, top + height * scale)
        return np.array(photograph.resize((width, height), Image.Resampling.BILINEAR, box=box)) // 2


def _photographs(part: str) -> list[Image.Image]:
    """The photographs of one part, RGB; `embedded/SOURCES.md` says where they are from."""
    folder = files("convsmith.data") / "embedded" / "photographs"
    return [Image.open(io.BytesIO((folder / f"{name}.jpg").read_bytes())).convert("RGB") for name in _PHOTOGRAPHS[part]]
