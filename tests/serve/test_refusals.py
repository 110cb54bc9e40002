"""A client that is refused again and again waits for its answers while others are being answered."""

from __future__ import annotations

import time
from pathlib import Path
from types import SimpleNamespace

import pytest
from starlette.testclient import TestClient

from convsmith.serve import exchange, refusals
from convsmith.serve.app import create_app
from convsmith.serve.refusals import AT_ONCE, INTERVAL, LONGEST, Refusals

BAD = {"image": b"not an image"}


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """The time by which refusals are counted."""
    clock = SimpleNamespace(now=1000.0)
    monkeypatch.setattr(refusals, "time", SimpleNamespace(monotonic=lambda: clock.now))
    return clock


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The seconds that answers wait, in place of waiting."""
    waits: list[float] = []

    async def note(seconds: float) -> None:
        waits.append(seconds)

    monkeypatch.setattr(exchange, "asyncio", SimpleNamespace(sleep=note))
    return waits


def test_the_first_refusals_of_a_client_do_not_wait(clock: SimpleNamespace) -> None:
    refused = Refusals()
    assert [refused.seconds_to_wait("a") for _ in range(AT_ONCE)] == pytest.approx([0] * AT_ONCE)


def test_further_refusals_wait_an_interval_longer_each(clock: SimpleNamespace) -> None:
    refused = Refusals()
    waited = [refused.seconds_to_wait("a") for _ in range(AT_ONCE + 3)]
    assert waited[AT_ONCE:] == pytest.approx([INTERVAL, 2 * INTERVAL, 3 * INTERVAL])


def test_no_refusal_waits_longer_than_the_longest(clock: SimpleNamespace) -> None:
    refused = Refusals()
    assert max(refused.seconds_to_wait("a") for _ in range(10_000)) == LONGEST


def test_the_refusals_of_one_client_do_not_count_for_another(clock: SimpleNamespace) -> None:
    refused = Refusals()
    for _ in range(1000):
        refused.seconds_to_wait("a")
    assert refused.seconds_to_wait("b") == 0


def test_a_client_that_has_stopped_for_a_while_does_not_wait(clock: SimpleNamespace) -> None:
    refused = Refusals()
    for _ in range(1000):
        refused.seconds_to_wait("a")
    clock.now += LONGEST + AT_ONCE * INTERVAL
    assert [refused.seconds_to_wait("a") for _ in range(AT_ONCE)] == pytest.approx([0] * AT_ONCE)


def test_many_addresses_are_not_kept_for_ever(clock: SimpleNamespace) -> None:
    refused = Refusals()
    for number in range(50_000):
        clock.now += 0.01
        refused.seconds_to_wait(str(number))
    assert len(refused._due) <= 10_000


def test_a_refused_image_waits_while_others_are_being_answered(colour_bundle: Path, waits: list[float]) -> None:
    app = create_app(colour_bundle)
    with TestClient(app) as client:
        while client.get("/readyz").status_code != 200:
            time.sleep(0.01)
        app.state.service.active = 1
        answers = {client.post("/predict", files=BAD).status_code for _ in range(AT_ONCE + 3)}
    assert answers == {415}
    assert len(waits) == AT_ONCE + 3
    assert waits[-1] > 0


def test_a_refused_image_does_not_wait_where_nobody_else_asks(colour_bundle: Path, waits: list[float]) -> None:
    app = create_app(colour_bundle)
    with TestClient(app) as client:
        for _ in range(AT_ONCE + 3):
            client.post("/predict", files=BAD)
    assert waits == []
