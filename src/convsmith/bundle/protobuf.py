"""Protobuf as ONNX files are written in it, field by field: reading, and writing, without the package `onnx`."""

from __future__ import annotations

from collections.abc import Iterator

_VARINT, _EIGHT, _BYTES, _FOUR = 0, 1, 2, 5  # kinds of fields

Content = memoryview | int


class NotProtobuf(ValueError):
    """Bytes are not a message."""


def fields_of(content: memoryview) -> Iterator[tuple[int, Content]]:
    """Number and value of each field of a message, but for numbers of four or eight bytes, which nothing here reads.

    Raises:
        NotProtobuf: it is not one.
    """
    place = 0
    while place < len(content):
        tag, place = _varint(content, place)
        if tag >> 32:  # other readers leave these bits away, and see another field
            raise NotProtobuf
        number, kind = tag >> 3, tag & 7
        if kind == _VARINT:
            value, place = _varint(content, place)
            yield number, value
            continue
        if kind == _BYTES:
            size, place = _varint(content, place)
        elif kind in (_EIGHT, _FOUR):
            size = 8 if kind == _EIGHT else 4
        else:
            raise NotProtobuf
        if place + size > len(content):
            raise NotProtobuf
        if kind == _BYTES:
            yield number, content[place : place + size]
        place += size


def message(value: Content) -> memoryview:
    """A field's value that must be a message, or text."""
    if isinstance(value, int):
        raise NotProtobuf
    return value


def integer(value: Content) -> int:
    """A field's value that must be one number."""
    if not isinstance(value, int):
        raise NotProtobuf
    return value


def within(content: memoryview, *numbers: int) -> memoryview:
    """The message in a message, in a message; empty where it is not there."""
    for wanted in numbers:
        content = next((message(value) for number, value in fields_of(content) if number == wanted), memoryview(b""))
    return content


def integers(value: Content) -> list[int]:
    """The numbers in a field of repeated integers, written one by one or all in one."""
    if isinstance(value, int):
        return [value]
    numbers, place = [], 0
    while place < len(value):
        number, place = _varint(value, place)
        numbers.append(number)
    return numbers


def field(number: int, value: bytes | Content) -> bytes:
    """Bytes of a field: a number, or bytes, which a text and a message are too."""
    if isinstance(value, int):
        return _bytes_of(number << 3 | _VARINT) + _bytes_of(value)
    return _bytes_of(number << 3 | _BYTES) + _bytes_of(len(value)) + bytes(value)


def _bytes_of(number: int) -> bytes:
    content = bytearray()
    while number > 127:
        content.append(number & 127 | 128)
        number >>= 7
    return bytes([*content, number])


def _varint(content: memoryview, place: int) -> tuple[int, int]:
    """The number that begins there, and where it ends."""
    number = shift = 0
    while place < len(content):
        byte = content[place]
        number |= (byte & 127) << shift
        place, shift = place + 1, shift + 7
        if byte < 128:
            return number, place
        if shift > 63:
            break
    raise NotProtobuf
