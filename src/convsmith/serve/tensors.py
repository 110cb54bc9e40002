"""Named tensors, as the Open Inference Protocol sends them: their values as bytes."""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convsmith.serve.problems import Problem

NUMBERS: dict[str, np.dtype[Any]] = {"UINT8": np.dtype("u1"), "INT64": np.dtype("<i8"), "FP32": np.dtype("<f4")}
BYTES = "BYTES"
_LENGTH = struct.Struct("<I")


@dataclass(frozen=True)
class Shape:
    """A tensor as a model takes or gives it; -1 stands for any length.

    Attributes:
        name: what requests call it.
        datatype: one of `NUMBERS`, or `BYTES`.
        shape: its lengths.
    """

    name: str
    datatype: str
    shape: tuple[int, ...]


@dataclass(frozen=True)
class Tensor:
    """Values under a name: numbers of any shape, or texts as bytes.

    Attributes:
        name: what it is called.
        values: all of them.
        lengths: of texts, their shape; None: [N].
    """

    name: str
    values: NDArray[Any] | list[bytes]
    lengths: tuple[int, ...] | None = None

    @property
    def datatype(self) -> str:
        """One of `NUMBERS`, or `BYTES`."""
        if isinstance(self.values, list):
            return BYTES
        return next(name for name, kind in NUMBERS.items() if kind == self.values.dtype)

    @property
    def shape(self) -> list[int]:
        """Its lengths."""
        if isinstance(self.values, list):
            return list(self.lengths or (len(self.values),))
        return list(self.values.shape)

    def to_bytes(self) -> bytes:
        """The values as the protocol has them: numbers with their lowest byte first, texts after their lengths."""
        if isinstance(self.values, list):
            return b"".join(_LENGTH.pack(len(it)) + it for it in self.values)
        return self.values.astype(self.values.dtype.newbyteorder("<"), copy=False).tobytes()


def tensor_of_bytes(name: str, datatype: str, shape: Sequence[int], content: bytes | memoryview) -> Tensor:
    """Read what `Tensor.to_bytes` wrote; a `Problem` of status 400 if it has other lengths than it should."""
    count = _count(name, datatype, shape)
    if datatype == BYTES:
        texts = _texts(name, content, count)
        return Tensor(name, texts)
    kind = NUMBERS[datatype]
    if len(content) != count * kind.itemsize:
        raise _other_length(name, f"{len(content):,} bytes", f"{count * kind.itemsize:,}")
    return Tensor(name, np.frombuffer(content, kind).reshape(shape))


def tensor_of_values(name: str, datatype: str, shape: Sequence[int], values: Any) -> Tensor:
    """Read numbers, nested or not, or texts in a list; a `Problem` of status 400 if they are others."""
    count = _count(name, datatype, shape)
    if not isinstance(values, list):
        raise Problem(400, f"the data of `{name}` is not a list", fix="Send the values, or binary data.")
    if datatype == BYTES:
        if not all(isinstance(it, bytes) for it in values):
            raise Problem(400, f"the data of `{name}` is not a list of texts")
        if len(values) != count:
            raise _other_length(name, f"{len(values)} texts", str(count))
        return Tensor(name, values)
    try:
        numbers = np.asarray(values)
    except (ValueError, OverflowError) as error:
        raise Problem(400, f"the data of `{name}` cannot be read", str(error)) from error
    if numbers.size != count:
        raise _other_length(name, f"{numbers.size:,} values", f"{count:,}")
    kind = NUMBERS[datatype]
    limits = np.iinfo(kind) if kind.kind in "iu" else None
    if numbers.size and (
        numbers.dtype.kind not in ("iu" if limits else "iuf")
        or (limits and (numbers.min() < limits.min or numbers.max() > limits.max))
    ):
        raise Problem(400, f"the data of `{name}` does not fit {datatype}")
    return Tensor(name, numbers.astype(kind).reshape(shape))


def _count(name: str, datatype: str, shape: Sequence[int]) -> int:
    if datatype != BYTES and datatype not in NUMBERS:
        raise Problem(400, f"`{name}` has the datatype {datatype}", f"understood are {', '.join([*NUMBERS, BYTES])}")
    if any(length < 0 for length in shape) or len(shape) > 8:
        raise Problem(400, f"`{name}` has the shape {list(shape)}", "lengths are 0 or more, and 8 at most")
    return math.prod(shape)


def _texts(name: str, content: bytes | memoryview, count: int) -> list[bytes]:
    texts, place = list[bytes](), 0
    while place < len(content) and len(texts) <= count:
        if place + _LENGTH.size > len(content):
            raise _other_length(name, "an end in the middle of a length", "none")
        (length,) = _LENGTH.unpack_from(content, place)
        place += _LENGTH.size
        if place + length > len(content):
            raise _other_length(name, "an end in the middle of a text", "none")
        texts.append(bytes(content[place : place + length]))
        place += length
    if len(texts) != count:
        raise _other_length(name, f"{len(texts)} texts", str(count))
    return texts


def _other_length(name: str, found: str, wanted: str) -> Problem:
    return Problem(400, f"the data of `{name}` does not have the length of its shape", f"it has {found}, not {wanted}")
