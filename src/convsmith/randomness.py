"""Every random number comes from a counter, never from history.

A stream is named by integers, such as (seed, epoch, position). Two streams with different names are
independent; the same name gives the same numbers in every process, at any time. So a killed run needs no
generator state to go on exactly, and the number of loader workers cannot change a result.
"""

from __future__ import annotations

import struct
from enum import IntEnum
from hashlib import blake2b

import numpy as np


class Stream(IntEnum):
    """The use of a random number. Values are part of every result: add, never renumber."""

    ORDER = 1  # (seed, epoch): the order of the samples in an epoch
    AUGMENT = 2  # (seed, epoch, position): the augmentation of one sample
    STEP = 3  # (seed, step, 0, number of the forward pass among all of the step): its dropout and mixing
    INIT = 4  # (seed,): the initial weights
    SUBSET = 5  # (seed,): the images of a limited training
    SCENE = 6  # (part, number): one scene of the demo data
    CALIBRATE = 7  # (seed,): the images that an INT8 model is calibrated with
    BOOTSTRAP = 8  # (draw,): the images that an interval is estimated with
    PROJECT = 9  # (use,): the directions that embeddings are projected on
    RISE = 10  # (seed, number): a mask that hides parts of an image


def counter_seed(stream: Stream, *counters: int) -> int:
    """A 64-bit seed that depends on nothing but its arguments.

    Args:
        stream: what the numbers are for.
        counters: integers of 64 bits that name the stream, the recipe's seed first.
    """
    name = struct.pack(f"<{len(counters) + 1}q", stream, *counters)
    return int.from_bytes(blake2b(name, digest_size=8).digest(), "little")


def counter_generator(stream: Stream, *counters: int) -> np.random.RandomState:
    """The generator with `counter_seed` as its seed: numpy promises that what this legacy one gives never changes."""
    number = counter_seed(stream, *counters)
    return np.random.RandomState([number & 0xFFFFFFFF, number >> 32])
