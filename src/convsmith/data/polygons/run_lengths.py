"""Runs of pixels as COCO's files spell them: lists of counts, or text that packs them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

_FIRST = 48  # the character of 0
_BITS, _MORE, _SIGN = 5, 0x20, 0x10  # of a character: a part of the number, whether more follow, whether it is negative
_LONGEST = 7  # characters of a number


def unpack_runs(text: str) -> NDArray[np.int64]:
    """The counts in the text of a compressed RLE: five bits in each character, from the fourth on as differences.

    Raises:
        ValueError: it is not such a text; it says why.
    """
    try:
        codes = np.frombuffer(text.encode("ascii"), np.uint8).astype(np.int64) - _FIRST
    except UnicodeEncodeError as error:
        raise ValueError("its text holds characters that are not of a compressed RLE") from error
    if codes.size and (codes.min() < 0 or codes.max() >= 2 * _MORE):
        raise ValueError("its text holds characters that are not of a compressed RLE")
    ends = np.flatnonzero(codes & _MORE == 0)
    if not codes.size or ends[-1:].tolist() != [len(codes) - 1]:
        raise ValueError("its text is empty or cut off")
    starts = np.append(0, ends[:-1] + 1)
    lengths = ends - starts + 1
    if lengths.max() > _LONGEST:
        raise ValueError("a number in its text is longer than any count")
    places = np.arange(len(codes)) - np.repeat(starts, lengths)
    numbers = np.add.reduceat((codes & (_MORE - 1)) << (_BITS * places), starts)
    numbers -= np.where(codes[ends] & _SIGN, 1 << (_BITS * lengths), 0)
    for first in (1, 2):  # each is the difference to the one before the last, but for the first three
        numbers[first::2] = np.cumsum(numbers[first::2])
    return numbers


def check_runs(counts: Sequence[float] | NDArray[np.int64], pixels: int) -> NDArray[np.int64]:
    """The counts, if they are whole numbers of at least 0 that add up to all pixels; else a ValueError says why not."""
    if not isinstance(counts, np.ndarray) and any(type(count) is not int or count < 0 for count in counts):
        raise ValueError("its counts are not whole numbers of at least 0")
    try:
        found = np.asarray(counts, np.int64)
    except OverflowError as error:
        raise ValueError("its counts are beyond any image") from error
    if found.size and (found.min() < 0 or found.max() > pixels):
        raise ValueError(f"its counts reach from {found.min()} to {found.max():,}, of {pixels:,} pixels")
    if (total := int(found.sum())) != pixels:
        raise ValueError(f"its counts add up to {total:,}, but there are {pixels:,} pixels")
    return found
