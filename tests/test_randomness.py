from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from convsmith.randomness import Stream, counter_generator, counter_seed

COUNTERS = st.lists(st.integers(-(2**63), 2**63 - 1), max_size=4)


def test_seeds_are_the_same_on_every_machine() -> None:
    assert counter_seed(Stream.ORDER, 0, 0) == counter_seed(Stream.ORDER, 0, 0)
    assert counter_seed(Stream.AUGMENT, 1, 2, 3) == 11768122655111320086


@given(a=COUNTERS, b=COUNTERS)
def test_other_counters_give_another_seed(a: list[int], b: list[int]) -> None:
    assert (counter_seed(Stream.STEP, *a) == counter_seed(Stream.STEP, *b)) == (a == b)


@given(counters=COUNTERS)
def test_other_streams_give_another_seed(counters: list[int]) -> None:
    assert len({counter_seed(stream, *counters) for stream in Stream}) == len(Stream)


@given(counters=COUNTERS)
def test_a_seed_has_64_bits(counters: list[int]) -> None:
    assert 0 <= counter_seed(Stream.INIT, *counters) < 2**64


def test_a_generator_gives_the_same_numbers_on_every_machine() -> None:
    assert counter_generator(Stream.SCENE, 1, 2).randint(0, 1000, 3).tolist() == [751, 604, 286]


def test_streams_are_never_renumbered() -> None:
    numbers = {name: stream.value for name, stream in Stream.__members__.items()}
    assert numbers == {
        "ORDER": 1, "AUGMENT": 2, "STEP": 3, "INIT": 4, "SUBSET": 5, "SCENE": 6, "CALIBRATE": 7, "BOOTSTRAP": 8,
        "PROJECT": 9, "RISE": 10,
    }  # fmt: skip
