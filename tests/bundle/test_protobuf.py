"""Reading and writing protobuf, beside the package of that name."""

from __future__ import annotations

import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import AttributeProto, TensorProto

from convsmith.bundle.protobuf import NotProtobuf, field, fields_of, integer, integers, message, within

NUMBERS = st.integers(0, 2**64 - 1) | st.sampled_from([0, 127, 128, 2**14 - 1, 2**14, 2**63, 2**64 - 1])


def read(content: bytes) -> list[tuple[int, int | bytes]]:
    return [(n, v if isinstance(v, int) else bytes(v)) for n, v in fields_of(memoryview(content))]


@given(st.lists(st.tuples(st.integers(1, 2**29 - 1), NUMBERS | st.binary(max_size=200))))
def test_what_is_written_is_read(fields: list[tuple[int, int | bytes]]) -> None:
    assert read(b"".join(field(number, value) for number, value in fields)) == fields


def test_it_is_written_as_the_package_writes_it() -> None:
    attribute = AttributeProto(name="n" * 200, i=300, ints=[1, 2**40])
    written = field(1, b"n" * 200) + field(3, 300) + field(8, 1) + field(8, 2**40)
    assert written == attribute.SerializeToString()


def test_numbers_of_four_and_eight_bytes_are_passed_over() -> None:
    attribute = AttributeProto(name="a", f=1.5, i=7)
    assert read(attribute.SerializeToString()) == [(1, b"a"), (3, 7)]
    assert read(b"\x09" + bytes(8) + field(2, 5)) == [(2, 5)]  # eight bytes in field 1


@pytest.mark.parametrize("content", [field(1, b"four") + field(2, 300), b"\x09" + bytes(8), b"\x0d" + bytes(4)])
def test_what_is_cut_off_is_not_a_message(content: bytes) -> None:
    wholes = {0, len(content), len(field(1, b"four"))}
    for size in sorted({*range(len(content))} - wholes):
        with pytest.raises(NotProtobuf):
            read(content[:size])
    read(content)


@pytest.mark.parametrize("content", [b"\x0b", b"\x0c", b"\x0e", b"\x0f", field(2**29, 1), b"\x08" + b"\x80" * 10])
def test_other_kinds_and_numbers_of_fields_are_not_a_message(content: bytes) -> None:
    with pytest.raises(NotProtobuf):
        read(content + bytes(20))


def test_a_number_has_at_most_ten_bytes() -> None:
    assert read(b"\x08" + b"\x80" * 9 + b"\x01") == [(1, 2**63)]
    with pytest.raises(NotProtobuf):
        read(b"\x08" + b"\x80" * 10 + b"\x01")


def test_a_list_of_integers_is_read_packed_or_one_by_one() -> None:
    packed = TensorProto(int64_data=[1, 300, 2**40]).SerializeToString()
    ((_, content),) = fields_of(memoryview(packed))
    assert integers(content) == [1, 300, 2**40]
    assert integers(5) == [5]
    assert integers(memoryview(b"")) == []


def test_a_message_is_found_in_a_message() -> None:
    model = onnx.ModelProto(graph=onnx.GraphProto(name="g", doc_string="d")).SerializeToString()
    assert bytes(within(memoryview(model), 7, 2)) == b"g"
    assert bytes(within(memoryview(model), 7, 10)) == b"d"
    assert bytes(within(memoryview(model), 7, 3)) == bytes(within(memoryview(model), 8, 2)) == b""


def test_a_number_is_not_a_message_nor_a_message_a_number() -> None:
    with pytest.raises(NotProtobuf):
        message(1)
    with pytest.raises(NotProtobuf):
        integer(memoryview(b"1"))
    assert integer(1) == 1
