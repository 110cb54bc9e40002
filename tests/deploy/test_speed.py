"""How often models are asked for their speed, by a clock that only they move."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from convsmith.deploy import speed
from convsmith.deploy.speed import BATCH, Speed, first_input, measure_speed

IMAGE = np.zeros((3, 4, 5), np.uint8)


class Clock:
    """Time that passes while a model runs, and how many images it was asked each time."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now, self.asked = 0.0, list[tuple[str, tuple[int, ...], int]]()
        monkeypatch.setattr(speed, "time", SimpleNamespace(perf_counter=lambda: self.now))
        monkeypatch.setattr(speed, "OnnxRuntime", self.runtime)

    def runtime(self, content: bytes, threads: int) -> Any:
        """A model that takes as many seconds for an image as its file says."""

        def run(images: np.ndarray) -> None:
            self.now += float(content) * len(images)
            self.asked.append((content.decode(), images.shape, threads))

        return SimpleNamespace(run=run)


def test_a_speed_is_the_latency_of_one_image_and_the_throughput_of_eight(monkeypatch: pytest.MonkeyPatch) -> None:
    Clock(monkeypatch)
    assert BATCH == 8
    assert measure_speed({"a": b"0.5", "b": b"0.25"}, IMAGE, 2) == {"a": Speed(500, 2), "b": Speed(250, 4)}


def test_models_take_turns_and_the_first_answer_of_each_does_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch)
    measure_speed({"a": b"2", "b": b"4"}, IMAGE, 3)
    one, many = [("2", (1, 3, 4, 5), 3), ("4", (1, 3, 4, 5), 3)], [("2", (8, 3, 4, 5), 3), ("4", (8, 3, 4, 5), 3)]
    assert clock.asked == one * 6 + many * 6


@pytest.mark.parametrize(
    ("seconds", "rounds"), [(b"0.015625", 50), (b"0.0625", 16), (b"0.125", 8), (b"0.25", 5), (b"9", 5)]
)
def test_each_model_is_asked_for_a_second_and_no_fewer_than_5_times_nor_more_than_50(
    monkeypatch: pytest.MonkeyPatch, seconds: bytes, rounds: int
) -> None:
    clock = Clock(monkeypatch)
    measure_speed({"a": seconds, "b": seconds}, IMAGE, 1)
    assert sum(shape[0] == 1 for _, shape, _ in clock.asked) == 2 * (rounds + 1)


def test_the_median_of_all_times_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, times = Clock(monkeypatch), iter([9.0, *[7.0, 8, 1, 2, 3] * 2])
    runtime: Any = SimpleNamespace(run=lambda _: setattr(clock, "now", clock.now + next(times)))
    assert speed.median_seconds({"a": runtime}, IMAGE) == {"a": 3.0}


def test_a_bundle_for_one_size_first_sees_a_window_of_it_black_beyond_the_border() -> None:
    image = np.arange(1, 7, dtype=np.uint8).reshape(1, 3, 2)
    manifest: Any = SimpleNamespace(only_size=(2, 3))
    assert first_input(manifest, image).tolist() == [[[1, 2, 0], [3, 4, 0]]]
    manifest.only_size = None
    assert first_input(manifest, image) is image
