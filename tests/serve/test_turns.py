"""Neither large images nor busy clients hold all workers."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import Future
from functools import partial
from queue import Queue

import pytest

from convsmith.serve.turns import MUCH, Turns

SMALL, LARGE = MUCH / 10, MUCH * 10
PATIENCE = 30


class House:
    """Images by name; each ends when it is told to."""

    def __init__(self, workers: int) -> None:
        self.turns = Turns(workers, most_ahead=2)
        self.answers: dict[str, Future[str]] = {}
        self._begun: Queue[str] = Queue()
        self._ends: dict[str, threading.Event] = {}

    def come(self, *names: str, work: float = SMALL, client: str = "a") -> None:
        for name in names:
            self._ends[name] = threading.Event()
            self.answers[name] = self.turns.submit(partial(self._stay, name), work, client)

    def end(self, name: str) -> None:
        self._ends[name].set()
        assert self.answers[name].result(PATIENCE) == name

    def begins(self) -> str:
        """The next one that begins."""
        return self._begun.get(timeout=PATIENCE)

    def close(self) -> None:
        self.turns.close()
        for end in self._ends.values():
            end.set()

    def _stay(self, name: str) -> str:
        self._begun.put(name)
        assert self._ends[name].wait(PATIENCE)
        return name


@pytest.fixture
def house() -> Iterator[House]:
    """One of a single worker."""
    house = House(1)
    yield house
    house.close()


@pytest.fixture
def wide_house() -> Iterator[House]:
    """One of two workers."""
    house = House(2)
    yield house
    house.close()


def test_so_many_run_at_once_as_there_are_workers_and_one_is_prepared(wide_house: House) -> None:
    wide_house.come("a", "b", "c", "d")
    assert {wide_house.begins() for _ in range(3)} == {"a", "b", "c"}
    assert not wide_house.answers["d"].running()
    wide_house.end("a")
    assert wide_house.begins() == "d"


def test_more_are_prepared_where_models_take_several_at_once(wide_house: House) -> None:
    wide_house.turns.ahead = 2
    wide_house.come("a", "b", "c", "d", "e")
    assert {wide_house.begins() for _ in range(4)} == {"a", "b", "c", "d"}
    assert not wide_house.answers["e"].running()


def test_a_small_image_runs_beside_large_ones_that_hold_all_workers(wide_house: House) -> None:
    wide_house.come("large 1", "large 2", "large 3", work=LARGE)
    assert {wide_house.begins(), wide_house.begins()} == {"large 1", "large 2"}
    wide_house.come("small 1", "small 2")
    assert wide_house.begins() == "small 1"
    wide_house.end("small 1")
    assert wide_house.begins() == "small 2"
    assert not wide_house.answers["large 3"].running()


def test_a_small_image_goes_before_large_ones_that_came_a_moment_earlier(house: House) -> None:
    house.come("first", "second")
    assert {house.begins(), house.begins()} == {"first", "second"}
    house.come("large", work=LARGE)
    house.come("small")
    house.end("first")
    assert house.begins() == "small"


def test_the_client_that_asks_for_little_goes_first(house: House) -> None:
    house.come(*(f"busy {number}" for number in range(5)), client="busy")
    assert {house.begins(), house.begins()} == {"busy 0", "busy 1"}
    house.come("modest", client="modest")
    house.end("busy 0")
    assert house.begins() == "modest"


def test_images_of_one_client_keep_their_order_however_many_wait(house: House) -> None:
    names = [f"{number}" for number in range(12)]
    house.come(*names[:10])
    begun = [house.begins() for _ in range(2)]
    for number in range(8):
        house.end(begun[number])
        begun.append(house.begins())
        if number == 5:  # fewer wait than when the last of these came
            house.come(*names[10:])
    for number in range(8, 10):
        house.end(begun[number])
        begun.append(house.begins())
    assert sorted(begun[:2]) + begun[2:] == names


def test_one_that_leaves_while_it_waits_holds_nothing(house: House) -> None:
    house.come("a", "b", "c", work=LARGE)
    assert house.begins() == "a"
    assert house.turns.large_ones_waiting == 2
    assert house.answers["b"].cancel()
    assert house.turns.large_ones_waiting == 1
    house.end("a")
    assert house.begins() == "c"


def test_what_goes_wrong_reaches_who_asked_and_the_next_one_begins(house: House) -> None:
    wrong = house.turns.submit(lambda: 1 // 0, SMALL, "a")
    house.come("next")
    with pytest.raises(ZeroDivisionError):
        wrong.result(PATIENCE)
    assert house.begins() == "next"


def test_what_waits_when_it_is_closed_is_given_up(house: House) -> None:
    house.come("a", "b", "c")
    assert {house.begins(), house.begins()} == {"a", "b"}
    house.turns.close()
    assert house.answers["c"].cancelled()
