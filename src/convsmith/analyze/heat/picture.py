"""Heat as a picture: its colours over the image, and a legend."""

from __future__ import annotations

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from convsmith.bundle.heat import colours, overlay
from convsmith.words import for_terminal

_LEAST, _BAR, _GAP = 224, 10, 4  # pixels: a side of the picture, the legend, and what is between


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
