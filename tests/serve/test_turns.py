"""Neither large images nor busy clients hold all workers."""

from __future__ import annotations

import asyncio

from convsmith.serve.turns import MUCH, Turns

SMALL, LARGE = MUCH / 10, MUCH * 10


class House:
    """Images by name in the order in which they begin; each ends when it is told to."""

    def __init__(self, workers: int) -> None:
        self.turns = Turns(workers)
        self.begun: list[str] = []
        self._ends: dict[str, asyncio.Event] = {}
        self.tasks: dict[str, asyncio.Task[None]] = {}

    async def come(self, name: str, work: float, client: str = "a") -> None:
        self._ends[name] = asyncio.Event()
        self.tasks[name] = asyncio.create_task(self._stay(name, work, client))
        await settle()

    async def end(self, *names: str) -> None:
        for name in names:
            self._ends[name].set()
            await settle()

    async def _stay(self, name: str, work: float, client: str) -> None:
        async with self.turns.turn(work, client, asyncio.get_running_loop().create_future()):
            self.begun.append(name)
            await self._ends[name].wait()


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


def test_so_many_run_at_once_as_there_are_workers() -> None:
    async def story() -> list[str]:
        house = House(2)
        for name in "abc":
            await house.come(name, SMALL)
        begun = list(house.begun)
        await house.end("a")
        assert house.begun == ["a", "b", "c"]
        await house.end("b", "c")
        return begun

    assert asyncio.run(story()) == ["a", "b"]


def test_a_small_image_runs_beside_large_ones_that_hold_all_workers() -> None:
    async def story() -> list[str]:
        house = House(2)
        for name in ("large 1", "large 2", "large 3"):
            await house.come(name, LARGE)
        await house.come("small 1", SMALL)
        await house.come("small 2", SMALL)
        begun = list(house.begun)
        await house.end("small 1", "small 2", "large 1", "large 2", "large 3")
        return [*begun, *house.begun[3:]]

    assert asyncio.run(story()) == ["large 1", "large 2", "small 1", "small 2", "large 3"]


def test_a_small_image_goes_before_large_ones_that_came_a_moment_earlier() -> None:
    async def story() -> list[str]:
        house = House(1)
        await house.come("first", SMALL)
        await house.come("large", LARGE)
        await house.come("small", SMALL)
        await house.end("first", "small", "large")
        return house.begun

    assert asyncio.run(story()) == ["first", "small", "large"]


def test_the_client_that_asks_for_little_goes_first() -> None:
    async def story() -> list[str]:
        house = House(1)
        for number in range(4):
            await house.come(f"busy {number}", SMALL, "busy")
        await house.come("modest", SMALL, "modest")
        await house.end("busy 0")
        begun = house.begun[1]
        await house.end("modest", "busy 1", "busy 2", "busy 3")
        return [begun]

    assert asyncio.run(story()) == ["modest"]


def test_one_that_leaves_while_it_waits_holds_nothing() -> None:
    async def story() -> list[str]:
        house = House(1)
        for name in "abc":
            await house.come(name, LARGE)
        assert house.turns.large_ones_waiting == 2
        house.tasks["b"].cancel()
        house.tasks["a"].cancel()
        await settle()
        begun = list(house.begun)
        await house.end("c")
        assert not house.turns.large_ones_waiting
        return begun

    assert asyncio.run(story()) == ["a", "c"]
