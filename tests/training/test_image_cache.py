"""Which cache of decoded images a training opens."""

from __future__ import annotations

import socket
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import convsmith as cs
from convsmith.data.dataset import keep_nothing
from convsmith.errors import ConvsmithError
from convsmith.launch.world import World
from convsmith.training.image_cache import open_cache
from tests.data.folders import folder_of_classes


def session(*words: str, extra: bool = False) -> Any:
    """A training of 6 images, or of 4 more in an extra phase, in one of two processes of a machine."""
    data = folder_of_classes([3, 3])
    more = replace(data, extra=folder_of_classes([2, 2]).train) if extra else data  # type: ignore[arg-type]
    return SimpleNamespace(
        recipe=cs.load_recipe("digits", words),
        dataset=more,
        world=World(1, 4, 1, 2),
        run=SimpleNamespace(path=Path("run")),
    )


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    """The arguments of each cache that is opened, without its key; it gives the number that is asked for."""
    if sys.platform != "linux":
        pytest.skip("there are no such caches on this system")
    opened = list[tuple[Any, ...]]()
    cache = SimpleNamespace(keep=lambda number, _make: number)

    def in_memory(_key: str, *given: Any) -> Any:
        opened.append(given)
        return cache

    def on_disk(path: Path, _key: str, *given: Any) -> Any:
        opened.append((path, *given))
        return cache

    monkeypatch.setattr("convsmith.data.loading.pixel_cache.cache_in_memory", in_memory)
    monkeypatch.setattr("convsmith.data.loading.pixel_cache.cache_on_disk", on_disk)
    return opened


def test_without_a_cache_images_are_decoded_each_time(opened: list[tuple[Any, ...]]) -> None:
    assert open_cache(session("data.cache=none"))("train") is keep_nothing
    assert opened == []


@pytest.mark.parametrize(("extra", "images"), [(False, 6), (True, 10)])
def test_processes_of_a_machine_share_memory_out(extra: bool, images: int, opened: list[tuple[Any, ...]]) -> None:
    cache = open_cache(session("data.cache=memory", "data.cache_size=9kB", extra=extra))
    assert opened == [(images, 4500)]
    assert [cache(split)(2, lambda: None) for split in ("train", "extra")] == [2, 8]  # type: ignore[arg-type, return-value]


def test_processes_of_a_machine_share_its_file(opened: list[tuple[Any, ...]]) -> None:
    open_cache(session("data.cache=disk", "data.cache_size=9kB"))
    assert opened == [(Path("run") / "cache" / f"{socket.gethostname()}.pixels", 6, 9000)]


def test_other_systems_have_no_such_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    with pytest.raises(ConvsmithError, match=r"data\.cache is for Linux"):
        open_cache(session("data.cache=memory"))
    open_cache(session("data.cache=none"))
