"""Batches come from other processes as they were made there, and stay so."""

from __future__ import annotations

import gc
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from convsmith.data.checks.check import BadFile
from convsmith.data.loading import handing_over
from convsmith.data.loading.loader import Batch
from convsmith.data.loading.loader_processes import loader


class _Counted(Dataset[Batch]):
    """A batch of so many images, each pixel of which is the batch's number."""

    def __getitem__(self, batch: tuple[int, int]) -> Batch:
        number, images = batch
        pixels = torch.full((images, 5, 7, 3), number, dtype=torch.uint8).permute(0, 3, 1, 2)
        return Batch(pixels, torch.full((images,), number), [BadFile(str(number), "bad", "")])


def load(sizes: Sequence[int], workers: int, persistent: bool = False) -> DataLoader[Batch]:
    return loader(_Counted(), list(enumerate(sizes)), workers, persistent)


def equal(found: list[Batch], sizes: Sequence[int]) -> bool:
    expected = list(load(sizes, 0))
    return len(found) == len(expected) and all(
        torch.equal(a.images, b.images)
        and a.images.stride() == b.images.stride()
        and torch.equal(a.targets, b.targets)
        and a.bad == b.bad
        for a, b in zip(found, expected, strict=True)
    )


def test_batches_that_are_kept_are_not_written_over() -> None:
    sizes = [4] * 30
    assert equal(list(load(sizes, 2)), sizes)


def test_batches_may_become_larger_smaller_and_empty() -> None:
    sizes = [0, 2, 9, 1, 0, 40, 3, 41, 7]
    assert equal(list(load(sizes, 1)), sizes)


def test_an_iteration_that_is_left_early_changes_nothing_of_the_next() -> None:
    sizes = [4] * 12
    batches = load(sizes, 2, persistent=True)
    kept = [batch for batch, _ in zip(batches, range(3), strict=False)]
    assert equal(list(batches), sizes)
    assert equal(kept, sizes[:3])


def test_images_and_targets_may_be_written_to() -> None:
    batch = next(iter(load([2, 2], 1)))
    batch.images.zero_()
    batch.targets.zero_()
    assert not batch.images.any()


def shared() -> list[Tensor]:
    gc.collect()
    return list(handing_over._rooms.values())


def test_shared_memory_is_given_back_with_the_loader() -> None:
    batches = load([4] * 9, 2, persistent=True)
    assert len(list(batches)) == 9
    assert len(shared()) == 2 * handing_over.AHEAD
    del batches
    assert not shared()
