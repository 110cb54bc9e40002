from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import chain
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from convsmith.data.loading.sampler import Position, StepSampler, Windows, epoch_order
from convsmith.recipe.sampling import Balanced, Plain, RepeatedAugmentation, Sampling

ALL = Plain()


@dataclass(frozen=True)
class Numbers:
    """The numbers of a small plan."""

    num_samples: int
    per_device_batch: int
    world_size: int
    accumulation: int
    steps_per_epoch: int
    sampling: Sampling = ALL
    windows: Windows | None = None

    @property
    def effective_batch(self) -> int:
        return self.per_device_batch * self.world_size * self.accumulation

    def sampler(self, first: int, last: int, rank: int = 0, alone: bool = False) -> StepSampler:
        """One rank's sampler; `alone`: that of one process that takes each step in one go."""
        per_device, world = (self.effective_batch, 1) if alone else (self.per_device_batch, self.world_size)
        targets, batch = np.arange(self.num_samples) // 3, self.effective_batch
        return StepSampler(
            targets,
            self.sampling,
            seed=7,
            effective_batch=batch,
            per_device_batch=per_device,
            steps_per_epoch=self.steps_per_epoch,
            first_step=first,
            last_step=last,
            rank=rank,
            world_size=world,
            windows=self.windows,
        )


small = st.integers(1, 4)
share = st.floats(0.2, 1)
samplings = st.one_of(
    st.builds(Plain, fraction=share),
    st.builds(RepeatedAugmentation, name=st.just("repeated"), repetitions=st.integers(2, 5), fraction=share),
    st.builds(Balanced, name=st.just("balanced"), fraction=share),
)
plain_plans = st.builds(Numbers, st.integers(1, 40), small, small, small, small)
plans = st.builds(Numbers, st.integers(1, 40), small, small, small, small, samplings)


def stream(sampler: StepSampler) -> list[Position]:
    return list(chain.from_iterable(sampler))


@given(st.integers(0, 200), st.integers(0, 2**31 - 1), st.integers(0, 1000))
def test_an_order_holds_every_sample_once(num_samples: int, seed: int, epoch: int) -> None:
    assert sorted(epoch_order(num_samples, seed, epoch)) == list(range(num_samples))


def test_orders_never_change_between_versions() -> None:
    assert epoch_order(10, 0, 0).tolist() == [1, 8, 5, 2, 0, 7, 9, 3, 6, 4]


@pytest.mark.parametrize("other", [(100, 0, 1), (100, 1, 0)])
def test_another_epoch_or_seed_has_another_order(other: tuple[int, int, int]) -> None:
    assert epoch_order(*other).tolist() != epoch_order(100, 0, 0).tolist()


@given(small, small, small, small)
def test_every_sample_comes_once_an_epoch_where_the_batch_divides(p: int, w: int, a: int, steps: int) -> None:
    numbers = Numbers(p * w * a * steps, p, w, a, steps)
    ranks = [stream(numbers.sampler(steps, 2 * steps, rank)) for rank in range(w)]
    assert sorted(position.index for rank in ranks for position in rank) == list(range(numbers.num_samples))


@given(plain_plans)
def test_positions_beyond_the_samples_wrap_around_the_order(numbers: Numbers) -> None:
    order = epoch_order(numbers.num_samples, 7, 0).tolist()
    expected = [
        Position(0, i, order[i % numbers.num_samples]) for i in range(numbers.steps_per_epoch * numbers.effective_batch)
    ]
    assert stream(numbers.sampler(0, numbers.steps_per_epoch, alone=True)) == expected


def test_samples_beyond_the_last_step_wait_for_another_epoch() -> None:
    numbers = Numbers(num_samples=10, per_device_batch=4, world_size=1, accumulation=1, steps_per_epoch=2)
    assert [p.index for p in stream(numbers.sampler(0, 2))] == epoch_order(10, 7, 0).tolist()[:8]


@given(plans, st.integers(0, 9))
def test_all_ranks_together_see_what_one_would_see_alone(numbers: Numbers, steps: int) -> None:
    ranks = [stream(numbers.sampler(0, steps, rank)) for rank in range(numbers.world_size)]
    assert sorted(chain(*ranks)) == sorted(stream(numbers.sampler(0, steps, alone=True)))


@given(plans)
def test_a_step_holds_the_same_samples_however_it_is_divided(numbers: Numbers) -> None:
    ranks = [stream(numbers.sampler(1, 2, rank)) for rank in range(numbers.world_size)]
    undivided = replace(numbers, per_device_batch=numbers.effective_batch, world_size=1, accumulation=1)
    assert sorted(chain(*ranks)) == sorted(stream(undivided.sampler(1, 2)))


@given(plans)
def test_micro_batch_m_of_rank_r_takes_every_micro_batch_th_sample(numbers: Numbers) -> None:
    micro_batches = numbers.world_size * numbers.accumulation
    for rank in range(numbers.world_size):
        for m, batch in enumerate(numbers.sampler(0, 1, rank)):
            first = m * numbers.world_size + rank
            assert [p.position for p in batch] == list(range(first, numbers.effective_batch, micro_batches))


@given(plans, st.integers(0, 9), st.integers(0, 9))
def test_a_later_first_step_gives_the_rest_of_the_same_stream(numbers: Numbers, first: int, more: int) -> None:
    whole = list(numbers.sampler(0, first + more))
    assert list(numbers.sampler(first, first + more)) == whole[first * numbers.accumulation :]


@pytest.mark.parametrize(
    "sampling",
    [ALL, RepeatedAugmentation(name="repeated"), Balanced(name="balanced"), Plain(fraction=0.5)],
    ids=["plain", "repeated", "balanced", "share"],
)
def test_every_epoch_has_an_order_of_its_own(sampling: Sampling) -> None:
    numbers = Numbers(40, 5, 1, 1, steps_per_epoch=4, sampling=sampling)
    epochs = [[p.index for p in stream(numbers.sampler(first, first + 4))] for first in (0, 4, 8)]
    assert len({tuple(epoch) for epoch in epochs}) == 3


@given(plans, st.integers(0, 9))
def test_length_is_the_number_of_micro_batches_of_one_rank(numbers: Numbers, steps: int) -> None:
    sampler = numbers.sampler(0, steps, rank=numbers.world_size - 1)
    assert len(list(sampler)) == len(sampler) == steps * numbers.accumulation


@pytest.mark.parametrize(
    "change",
    [
        {"targets": np.arange(0)},
        {"effective_batch": 6},
        {"effective_batch": 0},
        {"per_device_batch": 0},
        {"steps_per_epoch": 0},
        {"first_step": -1},
        {"first_step": 3},
        {"rank": 2},
        {"rank": -1},
    ],
)
def test_numbers_that_do_not_fit_are_refused(change: dict[str, Any]) -> None:
    data: dict[str, Any] = {"targets": np.arange(8), "sampling": Plain()}
    numbers = {"seed": 0, "effective_batch": 8, "per_device_batch": 4, "steps_per_epoch": 1}
    steps = {"first_step": 0, "last_step": 2, "rank": 0, "world_size": 2}
    with pytest.raises(ValueError, match=r"\d"):
        StepSampler(**(data | numbers | steps | change))


# Samples that lie together in archives


def windows(counts: list[int], size: int) -> Windows:
    return Windows(np.repeat(np.arange(len(counts), dtype=np.int32), counts), size)


shards = st.lists(st.integers(0, 20), min_size=1, max_size=8).filter(sum)


@given(shards, st.integers(1, 50), st.integers(0, 2**40), st.integers(0, 300))
def test_an_order_in_windows_has_every_sample_once(counts: list[int], size: int, seed: int, epoch: int) -> None:
    order = epoch_order(sum(counts), seed, epoch, windows(counts, size))
    assert sorted(order) == list(range(sum(counts)))


@given(shards, st.integers(1, 50), st.integers(0, 300))
def test_a_window_holds_what_follows_each_other_in_few_archives(counts: list[int], size: int, epoch: int) -> None:
    order, lie = epoch_order(sum(counts), 7, epoch, windows(counts, size)), windows(counts, size).shards
    seen: list[int] = []
    for first in range(0, len(order), size):
        window = np.sort(order[first : first + size])
        for shard in np.unique(lie[window]):
            part = window[lie[window] == shard]
            assert part.tolist() == list(range(part[0], part[-1] + 1))
        seen += [shard for shard in np.unique(lie[window]) if shard not in seen]
    assert sorted(seen) == np.unique(lie).tolist()


def test_windows_never_change_between_versions() -> None:
    assert epoch_order(10, 0, 0, windows([4, 3, 3], 5)).tolist() == [8, 5, 7, 9, 4, 0, 3, 1, 6, 2]


def test_another_epoch_begins_with_another_archive() -> None:
    lie = windows([10] * 8, 4)
    first = {int(lie.shards[epoch_order(80, 7, epoch, lie)[0]]) for epoch in range(40)}
    assert first == set(range(8))


def test_a_stream_in_windows_goes_on_from_any_step() -> None:
    numbers = Numbers(40, 2, 1, 2, 10, windows=windows([10] * 4, 8))

    def positions(first: int, last: int) -> list[Position]:
        return stream(numbers.sampler(first, last))

    assert positions(0, 6) + positions(6, 20) == positions(0, 20)
