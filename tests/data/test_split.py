from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from convsmith.data.split import Share, split_files

names = st.lists(st.binary(min_size=1), unique=True)
fractions = st.floats(0.01, 0.99)


@given(names, fractions)
def test_every_file_goes_to_exactly_one_side(files: list[bytes], fraction: float) -> None:
    train, val = split_files(files, Share(fraction))
    assert sorted(train + val) == sorted(files)


@given(names, fractions)
def test_sides_keep_the_order_of_the_files(files: list[bytes], fraction: float) -> None:
    for side in split_files(files, Share(fraction)):
        assert side == [name for name in files if name in set(side)]


@given(names, fractions)
def test_val_has_the_rounded_share_at_least_one_of_two_and_never_all(files: list[bytes], fraction: float) -> None:
    n = len(files)
    wanted = 0 if n < 2 else min(max(round(fraction * n), 1), n - 1)
    assert len(split_files(files, Share(fraction))[1]) == wanted


@given(names, fractions, st.randoms())
def test_order_of_the_files_does_not_matter(files: list[bytes], fraction: float, shuffler: random.Random) -> None:
    shuffled = shuffler.sample(files, len(files))
    assert set(split_files(files, Share(fraction))[1]) == set(split_files(shuffled, Share(fraction))[1])


@given(names, st.lists(st.binary(min_size=1), unique=True, max_size=5), fractions)
def test_adding_files_moves_at_most_as_many_old_ones(files: list[bytes], more: list[bytes], fraction: float) -> None:
    added = [name for name in more if name not in files]
    before, after = set(split_files(files, Share(fraction))[1]), set(split_files(files + added, Share(fraction))[1])
    assert len((before ^ after) & set(files)) <= len(added)


def test_the_split_never_changes_between_versions() -> None:
    files = [b"train/cat/%04d.jpg" % i for i in range(20)]
    assert split_files(files, Share(0.2))[1] == [b"train/cat/%04d.jpg" % i for i in (2, 9, 10, 15)]


@pytest.mark.parametrize("fraction", [0.0, 1.0, -0.1])
def test_a_fraction_that_is_no_fraction_is_refused(fraction: float) -> None:
    with pytest.raises(ValueError, match="between 0 and 1"):
        Share(fraction)


@given(st.integers(0, 30), st.integers(2, 9), st.integers(0, 30))
def test_each_image_of_two_or_more_is_held_out_by_one_fold_and_the_only_one_by_none(
    images: int, folds: int, before: int
) -> None:
    ranks = [rank for fold in range(folds) for rank in Share(0.5, fold, folds).ranks(images, before).tolist()]
    assert sorted(ranks) == (list(range(images)) if images > 1 else [])
