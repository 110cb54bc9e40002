"""Heat as a picture: its colours over the image, and a legend."""

from __future__ import annotations

import io
from functools import cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from convsmith.words import for_terminal

# Every sixteenth colour of matplotlib's `inferno`, whose lightness rises evenly; those between lie on a line.
_INFERNO = (
    "000004 0c0826 240c4f 420a68 5d126e 781c6d 932667 ae305c c73e4c dd513a ed6925 f8850f fca50a fac62d f2e661 fcffa4"
)
_ALPHA = 0.55  # of the colours over the image
_LEAST, _BAR, _GAP = 224, 10, 4  # pixels: a side of the picture, the legend, and what is between


@cache
def colours() -> NDArray[np.uint8]:
    """The colour of each of 256 steps from cold to hot, uint8 [256, 3]."""
    anchors = np.array([list(bytes.fromhex(it)) for it in _INFERNO.split()], float)
    places, at = np.linspace(0, 255, len(anchors)), np.arange(256)
    table = np.stack([np.interp(at, places, channel) for channel in anchors.T], axis=1)
    rounded: NDArray[np.uint8] = np.rint(table).astype(np.uint8)
    return rounded


def overlay(image: NDArray[np.uint8], heat: NDArray[np.float32]) -> NDArray[np.uint8]:
    """The colours of heat [H, W] in 0 to 1 over RGB pixels [H, W, 3], of the same shape."""
    steps = np.rint(np.clip(heat, 0, 1) * 255).astype(np.uint8)
    shown = (1 - _ALPHA) * image + _ALPHA * colours()[steps]
    return np.rint(shown).astype(np.uint8)


def picture(image: NDArray[np.uint8], heat: NDArray[np.float32], caption: str) -> bytes:
    """A PNG: the image beside itself under its heat, a caption, and what the colours say.

    Args:
        image: RGB pixels [H, W, 3].
        heat: [H, W] in 0 to 1.
        caption: one line.
    """
    times = max(1, -(-_LEAST // max(image.shape[:2])))  # of small images each pixel becomes a square
    both = [np.repeat(np.repeat(it, times, 0), times, 1) for it in (image, overlay(image, heat))]
    height, width = both[0].shape[:2]
    font = ImageFont.load_default(12)
    line = 16
    sheet = Image.new("RGB", (2 * width + 3 * _GAP, height + 2 * line + _BAR + 4 * _GAP), "white")
    draw = ImageDraw.Draw(sheet)
    draw.text((_GAP, _GAP // 2), for_terminal(caption), fill="black", font=font)
    for number, pixels in enumerate(both):
        sheet.paste(Image.fromarray(pixels), (_GAP + number * (width + _GAP), line + _GAP))
    left, top = width + 2 * _GAP, line + height + 2 * _GAP
    bar = Image.fromarray(colours()[None].repeat(_BAR, 0)).resize((width, _BAR), Image.Resampling.NEAREST)
    sheet.paste(bar, (left, top))
    draw.text((left, top + _BAR), "nothing", fill="black", font=font)
    draw.text((left + width, top + _BAR), "most", fill="black", font=font, anchor="ra")
    content = io.BytesIO()
    sheet.save(content, "PNG")
    return content.getvalue()
