"""Pixels that are kept: those that were made, in no more bytes than the bound, whoever is killed meanwhile."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from convsmith.errors import ConvsmithError

fcntl = pytest.importorskip("fcntl")
from convsmith.data.loading.pixel_cache import PixelCache, cache_in_memory, cache_on_disk  # noqa: E402

Pixels = NDArray[np.uint8]


def pixels(number: int, side: int = 8) -> Pixels:
    return np.random.default_rng(number).integers(0, 256, (side, side + number % 3, 3), dtype=np.uint8)


def never() -> Pixels:
    raise AssertionError("it was kept")


def maker(of: Pixels, made: list[int], number: int) -> Callable[[], Pixels]:
    def make() -> Pixels:
        made.append(number)
        return of

    return make


@settings(max_examples=40, deadline=None)
@given(
    asked=st.lists(st.tuples(st.integers(0, 9), st.integers(0, 1)), max_size=60),
    sides=st.lists(st.integers(1, 12), min_size=10, max_size=10),
    bound=st.integers(0, 4000),
)
def test_what_is_given_is_what_is_made_and_the_file_stays_within_its_bound(
    asked: list[tuple[int, int]], sides: list[int], bound: int
) -> None:
    """Two openings of one file, as processes have them."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "deep" / "pixels"
        caches = [cache_on_disk(path, "key", 10, bound) for _ in range(2)]
        made: list[int] = []
        for number, which in asked:
            expected = pixels(number, sides[number])
            assert np.array_equal(caches[which].keep(number, maker(expected, made, number)), expected)
            assert path.stat().st_size <= bound
        if bound == 4000 and max(sides) < 5:
            assert len(made) == len({number for number, _ in asked})


@pytest.mark.parametrize("make", [cache_in_memory, lambda *rest: cache_on_disk(Path(tempfile.mkdtemp()) / "p", *rest)])
def test_what_one_process_keeps_others_have(make: Callable[[str, int, int], PixelCache]) -> None:
    cache = make("key", 20, 10**6)

    def work(first: int) -> None:
        for number in range(first, 20, 4):
            cache.keep(number, lambda number=number: pixels(number))  # type: ignore[misc]

    children = [get_context("fork").Process(target=work, args=(first,)) for first in range(4)]
    for child in children:
        child.start()
    for child in children:
        child.join()
    assert all(np.array_equal(cache.keep(number, never), pixels(number)) for number in range(20))


def test_a_file_is_gone_on_with_by_the_same_key_alone(tmp_path: Path) -> None:
    cache_on_disk(tmp_path / "p", "key", 3, 10**5).keep(1, lambda: pixels(1))
    assert np.array_equal(cache_on_disk(tmp_path / "p", "key", 3, 10**5).keep(1, never), pixels(1))
    assert np.array_equal(cache_on_disk(tmp_path / "p", "other", 3, 10**5).keep(1, lambda: pixels(2)), pixels(2))


def test_pixels_that_did_not_reach_the_disk_are_made_again(tmp_path: Path) -> None:
    cache = cache_on_disk(tmp_path / "p", "key", 3, 10**5)
    cache.keep(1, lambda: pixels(1))
    with (tmp_path / "p").open("r+b") as file:
        file.seek(-20, os.SEEK_END)
        file.write(bytes(20))
    assert np.array_equal(cache.keep(1, lambda: pixels(2)), pixels(2))
    os.truncate(tmp_path / "p", 10)
    assert np.array_equal(cache.keep(1, lambda: pixels(2)), pixels(2))


def test_pixels_that_changed_places_are_made_again(tmp_path: Path) -> None:
    """Such as pages of a file that were written to the places of others."""
    cache = cache_on_disk(tmp_path / "p", "key", 3, 10**5)
    cache.keep(1, lambda: pixels(1))
    content = (tmp_path / "p").read_bytes()
    (tmp_path / "p").write_bytes(content[:-48] + content[-24:] + content[-48:-24])
    assert np.array_equal(cache.keep(1, lambda: pixels(2)), pixels(2))


def test_a_disk_that_is_full_keeps_nothing_more(monkeypatch: pytest.MonkeyPatch) -> None:
    cache = cache_in_memory("key", 3, 10**5)

    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "pwrite", full)
    assert np.array_equal(cache.keep(1, lambda: pixels(1)), pixels(1))
    monkeypatch.undo()
    assert np.array_equal(cache.keep(1, lambda: pixels(2)), pixels(2))


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConvsmithError, match="cannot keep decoded images in"):
        cache_on_disk(tmp_path / "file" / "p", "key", 3, 10**5)
