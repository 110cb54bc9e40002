"""The outcome of decoding, to be compared with that of another way."""

from __future__ import annotations

from convsmith.bundle.images.decode import decode_image
from convsmith.bundle.images.image_error import ImageError


def outcome(data: bytes) -> str:
    """The pixels that come of bytes, or the error."""
    try:
        pixels = decode_image(data)
    except ImageError as error:
        return f"{error.what} {error.why}"
    return f"{pixels.shape} {pixels.tobytes().hex()}"
