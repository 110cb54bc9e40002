"""Which samples an epoch is made of: all, some several times, or rare classes more often."""

from __future__ import annotations

import json
from collections import Counter
from itertools import chain
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from convsmith.data.loading import sampler
from convsmith.data.loading.sampler import Indices, StepSampler, class_shares, epoch_samples, used_samples
from convsmith.recipe.make_plan import samples_per_epoch
from convsmith.recipe.sampling import Balanced, Plain, RepeatedAugmentation, Sampling

IMBALANCED = np.repeat([0, 1, 2], [1000, 100, 10])

sizes = st.lists(st.integers(1, 30), min_size=1, max_size=6)
fractions = st.floats(0.01, 1)


def repeated(repetitions: int, fraction: float = 1.0) -> RepeatedAugmentation:
    return RepeatedAugmentation(name="repeated", repetitions=repetitions, fraction=fraction)


def one_epoch(
    targets: Indices,
    sampling: Sampling,
    per_device: int = 1,
    steps: int | None = None,
    rank: int = 0,
    world: int = 1,
    accumulation: int = 1,
    epoch: int = 0,
) -> list[list[int]]:
    """The micro-batches of one rank, as lists of indices."""
    batch = per_device * world * accumulation
    steps = samples_per_epoch(sampling, len(targets)) // batch if steps is None else steps
    first, last = epoch * steps, (epoch + 1) * steps
    batches = StepSampler(
        targets,
        sampling,
        seed=7,
        effective_batch=batch,
        per_device_batch=per_device,
        steps_per_epoch=max(1, steps),
        first_step=first,
        last_step=last,
        rank=rank,
        world_size=world,
    )
    return [[position.index for position in batch] for batch in batches]


# Share of the images


@given(sizes, fractions, st.integers(0, 99))
def test_a_share_takes_that_share_of_each_class_to_an_image(sizes: list[int], fraction: float, seed: int) -> None:
    targets = np.random.RandomState(seed).permutation(np.repeat(np.arange(len(sizes)), sizes))
    used = used_samples(Plain(fraction=fraction), targets, seed)
    assert len(used) == len(set(used.tolist())) == samples_per_epoch(Plain(fraction=fraction), len(targets))
    share = len(used) / len(targets)
    assert (np.abs(np.bincount(targets[used], minlength=len(sizes)) - share * np.array(sizes)) < 1).all()


def test_a_share_is_the_same_in_every_epoch_and_another_with_another_seed() -> None:
    epochs = [set(chain(*one_epoch(IMBALANCED, Plain(fraction=0.1), epoch=epoch))) for epoch in range(3)]
    assert epochs[0] == epochs[1] == epochs[2]
    assert len(epochs[0]) == 111
    assert epochs[0] != set(used_samples(Plain(fraction=0.1), IMBALANCED, 8).tolist())


def test_a_share_never_changes_between_versions() -> None:
    assert used_samples(Plain(fraction=0.3), np.arange(10) % 2, 0).tolist() == [1, 4, 8]


def test_the_whole_share_is_all_images() -> None:
    assert used_samples(Plain(), np.arange(10) % 2, 0).tolist() == list(range(10))


@given(sizes, fractions, st.sampled_from(["repeated", "balanced"]))
def test_every_kind_takes_its_samples_from_the_share(sizes: list[int], fraction: float, name: str) -> None:
    targets = np.repeat(np.arange(len(sizes)), sizes)
    sampling = repeated(3, fraction) if name == "repeated" else Balanced(name="balanced", fraction=fraction)
    assert set(chain(*one_epoch(targets, sampling))) <= set(used_samples(sampling, targets, 7).tolist())


# Repeated augmentation


@given(st.integers(1, 300), st.integers(2, 6), st.integers(0, 5))
def test_an_epoch_sees_one_image_in_k_each_k_times(total: int, repetitions: int, epoch: int) -> None:
    counts = Counter(epoch_samples(repeated(repetitions), np.zeros(total, np.int64), 0, epoch).tolist())
    assert len(counts) == -(-total // repetitions)
    assert sum(counts.values()) == total
    assert sorted(counts.values())[1:] == [repetitions] * (len(counts) - 1)


@pytest.mark.parametrize(("world", "accumulation"), [(4, 1), (2, 2), (1, 4), (5, 1)])
def test_copies_come_into_different_micro_batches(world: int, accumulation: int) -> None:
    for rank in range(world):
        for batch in one_epoch(np.zeros(320, np.int64), repeated(4), 8, None, rank, world, accumulation):
            assert len(set(batch)) == 8


@pytest.mark.parametrize("per_device", [1, 4, 128])
def test_ranks_see_what_torchvision_shows_them(
    test_data: Path, monkeypatch: pytest.MonkeyPatch, per_device: int
) -> None:
    golden = json.loads((test_data / "goldens/training/ra_sampler.json").read_text())
    for case in golden["cases"]:
        given, ranks = case["in"], case["out"]["ranks"]
        total, world = given["dataset_len"], given["num_replicas"]
        generator = torch.Generator().manual_seed(given["seed"] + given["epoch"])
        order = torch.randperm(total, generator=generator).numpy() if given["shuffle"] else np.arange(total)
        monkeypatch.setattr(sampler, "epoch_order", lambda *_, order=order: order)
        for rank, indices in enumerate(ranks):
            sampling, steps = repeated(given["repetitions"]), -(-total // (per_device * world))
            ours = chain(*one_epoch(np.zeros(total, np.int64), sampling, per_device, steps, rank, world))
            assert list(ours)[: len(indices)] == indices, given


def test_fewer_than_256_images_are_all_seen_unlike_in_torchvision() -> None:
    assert len(set(chain(*one_epoch(np.zeros(255, np.int64), repeated(3))))) == 85


# Balanced classes


def share_of_each_class(weights: str, beta: float = 0.999) -> list[float]:
    sampling = Balanced(name="balanced", weights=weights, beta=beta)  # type: ignore[arg-type]
    drawn = [IMBALANCED[epoch_samples(sampling, IMBALANCED, 0, epoch)] for epoch in range(40)]
    return (np.bincount(np.concatenate(drawn)) / (40 * len(IMBALANCED))).tolist()  # type: ignore[no-any-return]


def effective_number(images: int, beta: float) -> float:
    return float(images * (1 - beta) / (1 - beta**images))


@pytest.mark.parametrize(
    ("weights", "beta", "in_proportion_to"),
    [
        ("inverse", 0.999, [1, 1, 1]),
        ("sqrt", 0.999, [1000**0.5, 100**0.5, 10**0.5]),
        ("effective_number", 0.999, [effective_number(n, 0.999) for n in (1000, 100, 10)]),
        ("effective_number", 0.9, [effective_number(n, 0.9) for n in (1000, 100, 10)]),
        ("effective_number", 0.0, [1000, 100, 10]),
    ],
)
def test_classes_are_drawn_in_proportion_to_their_weights(
    weights: str, beta: float, in_proportion_to: list[float]
) -> None:
    expected = np.array(in_proportion_to) / sum(in_proportion_to)
    error = np.sqrt(expected * (1 - expected) / (40 * len(IMBALANCED)))
    assert (np.abs(share_of_each_class(weights, beta) - expected) < 4 * error).all()


@given(sizes, st.sampled_from(["inverse", "sqrt", "effective_number"]))
def test_an_image_of_a_rarer_class_is_drawn_more_often(sizes: list[int], name: str) -> None:
    counts = np.array(sorted(sizes))
    each = class_shares(Balanced(name="balanced", weights=name), counts) / counts  # type: ignore[arg-type]
    assert (np.diff(each) <= 0).all()
    assert (each[:-1] > each[1:]).tolist() == (counts[:-1] < counts[1:]).tolist()


def test_every_image_is_drawn_and_a_class_without_images_never() -> None:
    targets = np.array([3, 1, 3, 5, 3, 1])
    drawn = [epoch_samples(Balanced(name="balanced"), targets, 0, epoch) for epoch in range(100)]
    assert set(np.concatenate(drawn).tolist()) == set(range(6))
    assert np.bincount(targets[np.concatenate(drawn)]) == pytest.approx([0, 200, 0, 200, 0, 200], abs=50)


def test_each_image_of_a_class_is_drawn_about_as_often() -> None:
    drawn = np.concatenate([epoch_samples(Balanced(name="balanced"), IMBALANCED, 0, epoch) for epoch in range(40)])
    counts = np.bincount(drawn, minlength=len(IMBALANCED))[-10:]
    assert np.abs(counts - 40 * 111 / 3).max() < 5 * (40 * 111 / 3) ** 0.5


def test_balanced_draws_never_change_between_versions() -> None:
    draws = epoch_samples(Balanced(name="balanced"), np.repeat([0, 1], [8, 2]), 0, 0)
    assert draws.tolist() == [8, 8, 7, 9, 8, 9, 9, 3, 9, 6]
