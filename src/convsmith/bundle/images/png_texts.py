"""Texts and colour profiles of a PNG, which Pillow refuses with the whole image where they are large."""

from __future__ import annotations

import zlib

SIGNATURE = b"\x89PNG\r\n\x1a\n"

_TEXTS = (b"tEXt", b"zTXt", b"iTXt", b"iCCP")
_MOST = 2**20  # bytes of all of them together, unpacked
_TRIES = 16  # texts that are too large; behind so many none is kept


def without_large_texts(data: bytes) -> bytes:
    """The same PNG, its pixels untouched, without texts and profiles beyond the first MiB; other files as they are."""
    if not data.startswith(SIGNATURE):
        return data
    kept, copied_to, left, tries, place = [], 0, _MOST, _TRIES, len(SIGNATURE)
    while place + 12 <= len(data):
        end = place + 12 + int.from_bytes(data[place : place + 4], "big")
        if data[place + 4 : place + 8] in _TEXTS:
            size = _unpacked_size(data[place + 8 : min(end, len(data)) - 4], left)
            if size > left:
                kept.append(data[copied_to:place])
                copied_to = end
                tries -= 1
            else:
                left -= size
            left = left if tries else 0  # or thousands of chunks would be unpacked, each to be left out
        place = end
    return b"".join([*kept, data[copied_to:]]) if kept else data


def _unpacked_size(content: bytes, most: int) -> int:
    """How large a text or profile is, at least: where that is more than `most`, it may be much more."""
    size = len(content)
    for start in _packed_parts(content):
        try:
            size = max(size, len(zlib.decompressobj().decompress(content[start:], most + 1)))
        except zlib.error:  # it is not packed, or damaged
            continue
    return size


def _packed_parts(content: bytes) -> list[int]:
    """Where packed data may begin: behind the name and one byte, or in an iTXt behind three texts and two bytes."""
    name = content.find(b"\0")
    language = content.find(b"\0", name + 3)
    keyword = content.find(b"\0", language + 1)
    return [name + 2, keyword + 1]
