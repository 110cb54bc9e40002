"""All pairs of 64-bit hashes that differ in few bits, without comparing each one with each other.

Hashes are cut into blocks. Two that differ in at most R bits agree in all but R of the blocks, so they stand side by
side where hashes are sorted by the right choice of the other blocks; each such choice is tried (Manku et al.,
"Detecting Near-Duplicates for Web Crawling", 2007).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import combinations, pairwise
from math import comb, log2
from threading import Lock

import numpy as np
from numpy.typing import NDArray

from convsmith.machine import available_cores

_BITS = 64
_MOST_ALIKE = 200  # of more that agree in a choice of blocks, each is compared with so many that follow it
_AT_ONCE = 2**20  # hashes that are compared in one operation
_LEAST = 4  # bits that may differ among any number of hashes
_MOST_THREADS = 4  # each of them sorts a copy
_SORTING, _COMPARING = 8e-9, 2e-8  # seconds, of a hash and of a pair
_ONES = np.array([value.bit_count() for value in range(256)], np.uint8)

Visit = Callable[[NDArray[np.int64], NDArray[np.int64], NDArray[np.uint8]], None]
"""A function of the positions of both, the lower one first, and of the bits in which they differ, `[P]` each."""


def visit_pairs(hashes: NDArray[np.uint64], radius: int, visit: Visit) -> None:
    """Call `visit` with every pair of hashes `[N]` that differ in at most `radius` bits, some at a time.

    A pair comes once or several times. Memory is some 40 bytes for each hash and thread, of which there are at most 4,
    however many pairs there are. Where more than 200 hashes agree in all blocks of a choice, as of images without
    content, only neighbours in the order of their bits are compared.
    """
    blocks = _number_of_blocks(len(hashes), radius)
    edges = [round(_BITS * k / blocks) for k in range(blocks + 1)]
    spans = [(start, end - start) for start, end in pairwise(edges)]
    choices = list(combinations(range(blocks), blocks - radius))
    one_at_a_time = Lock()

    def try_choice(choice: Sequence[int]) -> None:
        for first, second, differ in _pairs_of(hashes, spans, choice, radius):
            with one_at_a_time:
                visit(np.minimum(first, second), np.maximum(first, second), differ)

    with ThreadPoolExecutor(min(available_cores(), _MOST_THREADS)) as pool:
        for _ in pool.map(try_choice, choices):
            pass


def bits_of_difference(one: NDArray[np.uint64], other: NDArray[np.uint64]) -> NDArray[np.uint8]:
    """In how many bits hashes `[P]` differ from others `[P]`."""
    differing = one ^ other
    counted: NDArray[np.uint8]
    if hasattr(np, "bitwise_count"):
        counted = np.bitwise_count(differing)
    else:  # numpy before 2
        counted = _ONES[differing.view(np.uint8).reshape(-1, 8)].sum(axis=1, dtype=np.uint8)
    return counted


def most_bits(count: int, wanted: int, seconds: float) -> int:
    """The largest radius up to `wanted` of which a search among `count` hashes takes no longer than that, at least 4.

    The time is what random hashes would take on one core of a machine that it was measured on: it is the same for the
    same number everywhere.
    """
    radius = wanted
    while radius > _LEAST and _seconds(count, _number_of_blocks(count, radius), radius) > seconds:
        radius -= 1
    return radius


def _number_of_blocks(count: int, radius: int) -> int:
    """The number with the shortest time."""
    return min(range(max(1, radius), radius + 6), key=lambda blocks: _seconds(count, blocks, radius))


def _seconds(count: int, blocks: int, radius: int) -> float:
    """The time that random hashes would take."""
    shared = _BITS * (blocks - radius) / blocks
    of_one = count * log2(count + 2) * _SORTING + count * count / 2 / 2**shared * _COMPARING
    return comb(blocks, radius) * of_one


def _pairs_of(
    hashes: NDArray[np.uint64], spans: Sequence[tuple[int, int]], choice: Sequence[int], radius: int
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.uint8]]]:
    """The pairs that agree in the chosen blocks."""
    moved, shared = np.zeros_like(hashes), sum(spans[k][1] for k in choice)
    for k in (*choice, *(k for k in range(len(spans)) if k not in choice)):
        start, width = spans[k]
        moved = (moved << np.uint64(width)) | ((hashes >> np.uint64(start)) & np.uint64(2**width - 1))
    order = np.argsort(moved, kind="stable")
    moved = moved[order]
    rest = np.uint64(_BITS - shared)
    for begin in range(0, len(moved), _AT_ONCE):
        places = np.arange(begin, min(begin + _AT_ONCE, len(moved)))
        step = 0
        while len(places) and (step < _MOST_ALIKE or not shared):
            step += 1
            places = places[: np.searchsorted(places, len(moved) - step)]
            if shared:
                places = places[moved[places] >> rest == moved[places + step] >> rest]
            differ = bits_of_difference(moved[places], moved[places + step])
            near = differ <= radius
            if near.any():
                yield order[places[near]], order[places[near] + step], differ[near]
