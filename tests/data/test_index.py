from __future__ import annotations

import os
import pickle
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from convsmith.data.index import Index, IndexBuilder
from tests.data.folders import path_of

file_names = st.one_of(
    st.text(st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1).map(os.fsencode),
    st.binary(min_size=1).map(lambda name: name.replace(b"/", b"_").replace(b"\0", b"_")),
).filter(lambda name: name not in (b".", b".."))
samples = st.lists(st.tuples(file_names, st.integers(0, 2**31 - 1)))


def packed(pairs: list[tuple[bytes, int]], root: Path = Path("/data")) -> Index:
    builder = IndexBuilder(root)
    for name, target in pairs:
        builder.add(target, [name])
    return builder.build()


def unpacked(index: Index) -> list[tuple[bytes, int]]:
    return [(os.fsencode(path_of(index, i)).removeprefix(b"/data/"), index.target(i)) for i in range(len(index))]


@given(samples)
def test_paths_and_targets_come_back_in_any_script_and_byte(pairs: list[tuple[bytes, int]]) -> None:
    assert unpacked(packed(pairs)) == pairs


@given(samples)
def test_targets_are_int64(pairs: list[tuple[bytes, int]]) -> None:
    targets = packed(pairs).targets
    assert targets.dtype == np.dtype(np.int64)
    assert targets.tolist() == [target for _, target in pairs]


@given(samples)
def test_pickling_keeps_everything(pairs: list[tuple[bytes, int]]) -> None:
    assert unpacked(pickle.loads(pickle.dumps(packed(pairs)))) == pairs


@given(st.data())
def test_select_takes_the_files_in_the_order_asked_for(data: st.DataObject) -> None:
    pairs = data.draw(samples.filter(len))
    chosen = data.draw(st.lists(st.integers(0, len(pairs) - 1)))
    assert unpacked(packed(pairs).select(chosen)) == [pairs[i] for i in chosen]


def test_select_is_right_beyond_one_chunk() -> None:
    pairs = [(f"file {i}".encode(), i % 7) for i in range(70_000)]
    chosen = list(range(69_999, -1, -1))
    selected = packed(pairs).select(chosen)
    assert [(path_of(selected, i).name, selected.target(i)) for i in (0, 65_535, 65_536, 69_999)] == [
        ("file 69999", 69_999 % 7),
        ("file 4464", 4464 % 7),
        ("file 4463", 4463 % 7),
        ("file 0", 0),
    ]


@pytest.mark.parametrize("i", [-1, 2])
def test_select_refuses_an_index_that_is_not_there(i: int) -> None:
    with pytest.raises(IndexError):
        packed([(b"a", 0), (b"b", 1)]).select([0, i])


@pytest.mark.parametrize("i", [-1, 2])
def test_name_refuses_an_index_that_is_not_there(i: int) -> None:
    with pytest.raises(IndexError):
        packed([(b"a", 0), (b"b", 1)]).name(i)


def test_a_pickle_grows_by_the_path_and_16_bytes_a_file() -> None:
    sizes = [len(pickle.dumps(packed([(b"n/" + b"%06d.jpg" % i, 1) for i in range(n)]))) for n in (1000, 2000)]
    assert sizes[1] - sizes[0] == pytest.approx(1000 * (len("n/000000.jpg") + 16), abs=100)


def test_digest_is_the_same_under_another_root() -> None:
    pairs = [(b"a", 0), (b"b", 1)]
    assert packed(pairs).digest() == packed(pairs, Path("/elsewhere")).digest()


@pytest.mark.parametrize("other", [[(b"a", 0), (b"c", 1)], [(b"a", 0), (b"b", 0)], [(b"ab", 0), (b"", 1)], [(b"a", 0)]])
def test_digest_changes_with_any_name_or_target(other: list[tuple[bytes, int]]) -> None:
    assert packed([(b"a", 0), (b"b", 1)]).digest() != packed(other).digest()
