"""Splits by group: no group in two parts, every class in training, and about the share that was asked for."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from convsmith.data.folders.files import Files
from convsmith.data.group_split import Groups
from convsmith.data.split import Share, hold_out
from convsmith.errors import ConvsmithError

Images = list[tuple[int, int]]
images = st.lists(st.tuples(st.integers(0, 8), st.integers(0, 3)), min_size=1)  # of each its group, and its class


def held_out(of_images: Images, share: Share) -> list[bool]:
    groups, strata = (np.array(column, np.int64) for column in zip(*of_images, strict=True))
    found = Groups(groups, [f"patient {number}" for number in range(1 + max(groups))])
    return list(hold_out(np.zeros(len(groups), np.uint64), strata, share, groups=found))


@given(images.filter(lambda of_images: len({group for group, _ in of_images}) > 2), st.floats(0.1, 0.9))
def test_no_group_is_in_both_parts_and_no_class_lacks_in_training(of_images: Images, fraction: float) -> None:
    for share in (Share(fraction), *(Share(fraction, fold, 3) for fold in range(3))):
        marked = list(zip(of_images, held_out(of_images, share), strict=True))
        train, val = ([pair for pair, is_out in marked if is_out == side] for side in (False, True))
        assert not {group for group, _ in train} & {group for group, _ in val}
        assert {label for _, label in train} == {label for _, label in of_images}


@given(images.filter(lambda of_images: len({group for group, _ in of_images}) > 1), st.randoms())
def test_the_order_of_the_images_does_not_matter(of_images: Images, shuffler: np.random.RandomState) -> None:
    shuffled = list(of_images)
    shuffler.shuffle(shuffled)
    both = [
        {group for (group, _), is_out in zip(order, held_out(order, Share(0.4)), strict=True) if is_out}
        for order in (of_images, shuffled)
    ]
    assert both[0] == both[1]


@pytest.mark.parametrize("share", [Share(0.1), Share(0.25), Share(0.5), Share(0.1, 2, 5)])
def test_the_part_held_out_has_about_its_share_of_every_class(share: Share) -> None:
    random = np.random.RandomState(0)
    sizes = random.geometric(0.1, 200)  # images of each patient, most of whom have one illness
    illness = random.choice(3, 200, p=[0.7, 0.25, 0.05])
    other = random.random_sample(sizes.sum()) < 0.1
    labels = np.where(other, random.randint(0, 3, sizes.sum()), np.repeat(illness, sizes))
    groups = np.repeat(np.arange(200), sizes)
    marked = np.array(held_out(list(zip(groups.tolist(), labels.tolist(), strict=True)), share))
    wanted = 1 / share.folds if share.folds else share.fraction
    assert marked.mean() == pytest.approx(wanted, abs=0.01)
    for label in range(3):
        assert marked[labels == label].mean() == pytest.approx(wanted, abs=0.02)


def test_each_group_is_held_out_in_one_fold() -> None:
    of_images = [(group, label) for group in range(12) for label in (0, 1)]
    folds = [held_out(of_images, Share(0.1, fold, 4)) for fold in range(4)]
    assert [sum(of_folds) for of_folds in zip(*folds, strict=True)] == [1] * len(of_images)
    assert [sum(fold) for fold in folds] == [6] * 4


def test_the_split_never_changes_between_versions() -> None:
    of_images = [(group, group % 2) for group in range(20) for _ in range(1 + group % 3)]
    marked = held_out(of_images, Share(0.2))
    assert {group for (group, _), is_out in zip(of_images, marked, strict=True) if is_out} == {1, 10, 13, 18}


@pytest.mark.parametrize(("share", "parts"), [(Share(0.1), 2), (Share(0.1, 0, 3), 3)])
def test_fewer_groups_than_parts_are_refused(share: Share, parts: int) -> None:
    with pytest.raises(ConvsmithError, match=f"to be split into {parts} parts"):
        held_out([(group, label) for group in range(parts - 1) for label in range(2)], share)


def test_images_are_sent_to_another_process_without_their_groups() -> None:
    files = Files(Path("data"), np.zeros(3, np.uint8), np.arange(4), Groups(np.arange(3), ["a", "b", "c"]))
    arrived: Files = pickle.loads(pickle.dumps(files))
    assert (len(arrived), arrived.groups) == (3, None)
