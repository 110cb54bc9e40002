from __future__ import annotations

import pickle
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from convsmith.data.masks.mask_file import MaskRules
from convsmith.data.masks.pairs import PairIndex, pack_paths
from tests.data.folders import path_of
from tests.data.masks import mask_of
from tests.data.test_index import file_names

ROOT = Path("/data")
RULES = MaskRules({0: 0, 1: 1})
pairs_of_names = st.lists(st.tuples(file_names, file_names))


def packed(names: list[tuple[bytes, bytes]], root: Path = ROOT) -> PairIndex:
    return PairIndex(*pack_paths(root, names), RULES)


def unpacked(pairs: PairIndex) -> list[tuple[bytes, bytes]]:
    prefix = b"/data/"
    return [
        (bytes(path_of(pairs, i)).removeprefix(prefix), bytes(mask_of(pairs, i)).removeprefix(prefix))
        for i in range(len(pairs))
    ]


@given(pairs_of_names)
def test_both_paths_come_back_in_any_script_and_byte(names: list[tuple[bytes, bytes]]) -> None:
    assert unpacked(packed(names)) == names


@given(pairs_of_names)
def test_pickling_keeps_everything(names: list[tuple[bytes, bytes]]) -> None:
    assert unpacked(pickle.loads(pickle.dumps(packed(names)))) == names


@given(st.data())
def test_select_takes_the_pairs_in_the_order_asked_for(data: st.DataObject) -> None:
    names = data.draw(pairs_of_names.filter(len))
    chosen = data.draw(st.lists(st.integers(0, len(names) - 1)))
    assert unpacked(packed(names).select(chosen)) == [names[i] for i in chosen]


def test_a_sample_is_called_by_its_image() -> None:
    assert packed([(b"a.jpg", b"a.png")]).name(0) == str(ROOT / "a.jpg")


@pytest.mark.parametrize("i", [-1, 1])
def test_a_pair_that_is_not_there_is_refused(i: int) -> None:
    with pytest.raises(IndexError):
        mask_of(packed([(b"a", b"b")]), i)


def test_images_without_as_many_masks_are_refused() -> None:
    one, two = packed([(b"a", b"b")]), packed([(b"a", b"b"), (b"c", b"d")])
    with pytest.raises(ValueError, match="1 images, but 2 masks"):
        PairIndex(one.images, two.masks, RULES)


def test_digest_is_the_same_under_another_root() -> None:
    here, there = (packed([(b"a", b"b")], root) for root in (ROOT, Path("/elsewhere")))
    assert here.digest() == there.digest()


@pytest.mark.parametrize("other", [[(b"a", b"c")], [(b"c", b"b")], [(b"b", b"a")], []])
def test_digest_changes_with_any_name(other: list[tuple[bytes, bytes]]) -> None:
    assert packed([(b"a", b"b")]).digest() != packed(other).digest()
