from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from convsmith.data.checks import hamming


def hashes_with_near_ones(count: int, seed: int = 0) -> NDArray[np.uint64]:
    """Random hashes, and for each another one that differs from it in 0 to 13 bits."""
    random = np.random.default_rng(seed)
    first = random.integers(0, 2**64, count, dtype=np.uint64)
    second = first.copy()
    for i in range(count):
        for bit in random.choice(64, random.integers(0, 14), replace=False):
            second[i] ^= np.uint64(1 << int(bit))
    return np.concatenate([first, second])


def found(hashes: NDArray[np.uint64], radius: int) -> set[tuple[int, int, int]]:
    pairs: set[tuple[int, int, int]] = set()
    hamming.visit_pairs(hashes, radius, lambda *it: pairs.update(zip(*(part.tolist() for part in it), strict=True)))
    return pairs


def by_comparing_all(hashes: NDArray[np.uint64], radius: int) -> set[tuple[int, int, int]]:
    differ = [[(int(one) ^ int(other)).bit_count() for other in hashes] for one in hashes]
    return {(i, k, differ[i][k]) for k in range(len(hashes)) for i in range(k) if differ[i][k] <= radius}


@pytest.mark.parametrize("blocks", [10, 11, 12, 13])
def test_all_pairs_are_found_and_no_others_however_hashes_are_cut(monkeypatch: pytest.MonkeyPatch, blocks: int) -> None:
    monkeypatch.setattr(hamming, "_number_of_blocks", lambda *_: blocks)
    hashes = hashes_with_near_ones(150)
    assert found(hashes, 10) == by_comparing_all(hashes, 10)


def test_more_hashes_are_cut_into_more_blocks() -> None:
    chosen = [hamming._number_of_blocks(count, 10) for count in (100, 50_000, 10_000_000)]
    assert chosen == sorted(set(chosen))


def test_fewer_bits_may_differ_among_more_hashes_than_there_is_time_for() -> None:
    chosen = [hamming.most_bits(count, 12, 1e-3 * count) for count in (10, 100_000, 2_500_000, 20_000_000)]
    assert chosen == sorted(chosen, reverse=True)
    assert chosen[0] == 12 > chosen[-1]
    assert hamming.most_bits(10**9, 12, seconds=1) == 4


def test_copies_of_one_hash_are_found_in_time_that_grows_with_their_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hamming, "_number_of_blocks", lambda *_: 11)
    monkeypatch.setattr(hamming, "_MOST_ALIKE", 3)
    hashes = np.full(100, 12345, np.uint64)
    pairs = found(hashes, 10)
    assert {i for pair in pairs for i in pair[:2]} == set(range(100))
    assert len(pairs) < 100 * 4


@pytest.mark.parametrize("count", [0, 1, 2])
def test_few_hashes(count: int) -> None:
    assert len(found(np.full(count, 7, np.uint64), 10)) == max(0, count - 1)


def test_bits_are_counted_without_the_function_of_new_numpy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(np, "bitwise_count", raising=False)
    one, other = np.array([0, 2**64 - 1, 5], np.uint64), np.array([1, 0, 5], np.uint64)
    assert hamming.bits_of_difference(one, other).tolist() == [1, 64, 0]
